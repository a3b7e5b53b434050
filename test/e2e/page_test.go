//go:build unix

package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/websocket"

	"github.com/standpipe/standpipe/test/fakeaws"
	"github.com/standpipe/standpipe/test/testkit"
)

// browser is Chromium with one page, driven over its DevTools protocol.
type browser struct {
	*process
	t    *testing.T
	page *websocket.Conn
	last int // ID of the last command
}

// openPage opens an address in a Chromium of its own.
func openPage(t *testing.T, address string) *browser {
	t.Helper()
	b := &browser{t: t}
	b.process = startProcess(t, exec.Command(testkit.Tool(t, "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--disable-background-networking", "--remote-debugging-port=0", "--remote-allow-origins=*", "--user-data-dir="+t.TempDir(), address))
	tools := regexp.MustCompile(`DevTools listening on ws://([^/]+)/`)
	var socket string
	testkit.Eventually(t, time.Minute, func() error {
		found := tools.FindStringSubmatch(b.out.String())
		if found == nil {
			return fmt.Errorf("Chromium has no DevTools yet: %s", b.out)
		}
		var pages []struct {
			Type, URL string
			Socket    string `json:"webSocketDebuggerUrl"`
		}
		response, err := http.Get("http://" + found[1] + "/json/list")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if err := json.NewDecoder(response.Body).Decode(&pages); err != nil {
			return err
		}
		for _, p := range pages {
			if p.Type == "page" && strings.HasPrefix(p.URL, address) {
				socket = p.Socket
				return nil
			}
		}
		return fmt.Errorf("got the pages %+v", pages)
	})
	page, err := websocket.Dial(socket, "", "http://127.0.0.1")
	testkit.Must(t, err)
	t.Cleanup(func() { page.Close() })
	b.page = page
	return b
}

// run evaluates an expression in the page and returns its text, or that of an exception.
func (b *browser) run(expression string) string {
	b.t.Helper()
	b.last++
	testkit.Must(b.t, websocket.JSON.Send(b.page, map[string]any{
		"id": b.last, "method": "Runtime.evaluate", "params": map[string]any{"expression": "String(" + expression + ")"},
	}))
	for {
		var response struct {
			ID     int
			Result struct {
				Result struct{ Value string }
				Fault  json.RawMessage `json:"exceptionDetails"`
			}
		}
		testkit.Must(b.t, websocket.JSON.Receive(b.page, &response))
		if response.ID != b.last { // an event
			continue
		}
		if fault := response.Result.Fault; fault != nil { // the page is being loaded
			return "exception: " + string(fault)
		}
		return response.Result.Result.Value
	}
}

// want waits until an expression's text contains each of some texts.
func (b *browser) want(expression string, wants ...string) {
	b.t.Helper()
	testkit.Eventually(b.t, 30*time.Second, func() error {
		text := b.run(expression)
		for _, want := range wants {
			if !strings.Contains(text, want) {
				return fmt.Errorf("%s: got %q, want %q", expression, text, want)
			}
		}
		return nil
	})
}

// find waits for the button with a text inside the element of a selector, and returns its expression.
func (b *browser) find(selector, button string) string {
	b.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q + ' button')].find(b => b.textContent === %q && !b.disabled)`, selector, button)
	b.want(find, "HTMLButtonElement")
	return find
}

// press presses a button once it is there.
func (b *browser) press(selector, button string) {
	b.t.Helper()
	find := b.find(selector, button)
	if got := b.run(find + ".click()"); got != "undefined" {
		b.t.Fatalf("press %s: %s", button, got)
	}
}

// confirm presses a button twice, at once: the page waits a few seconds only for the second time. The button then has the
// text of a question.
func (b *browser) confirm(selector, button, question string) {
	b.t.Helper()
	twice := "(e => { e.click(); const asked = e.textContent; e.click(); return asked })(" + b.find(selector, button) + ")"
	if got := b.run(twice); got != question {
		b.t.Fatalf("press %s: got %q, want %q", button, got, question)
	}
}

// An operator opens the page, sees the problem, lets the agent try again, reads a dead letter, and requeues it.
func TestPage_InABrowser(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	fake := fakeaws.Start(t)
	fake.FailNext(fakeaws.Refuse(400, "InvalidArgumentException", "not today"))
	patient := strings.Replace(firehoseDestination(fake.URL()), quick, "\n    retry {\n      max = \"1h\"\n    }", 1)
	a := startAgent(t, "", streamBlock("odd", "\n  format = \"text\"", patient, fileDestination))
	send(t, a.dial(), "odd", []event{{"k", "data <b>1</b>"}})
	a.waitDead("odd", 1)
	b := openPage(t, "http://"+a.admin+"/")
	b.want("document.body.innerText", "Nothing waits", "Events are accepted.", "Dead letters", "odd to archive, offset 1, key k", "not today")

	b.press("#letters", "Show data")
	b.want("document.querySelector('#letters .data').textContent", "data <b>1</b>")
	b.press("#letters", "Requeue")
	b.want("document.getElementById('outcome').textContent", "requeue: 1 dead letter")
	b.want("document.getElementById('dead').hidden", "true")
	testkit.Eventually(t, 20*time.Second, func() error {
		if got := fake.Stored(); got != 1 {
			return fmt.Errorf("got %d records at Firehose, want 1", got)
		}
		return nil
	})

	fake.FailNext(fakeaws.Refuse(400, "AccessDeniedException", "not authorized")) // the agent tries again in an hour
	send(t, a.dial(), "odd", []event{{"k", "data 2"}})
	b.want("document.querySelector('.problems').innerText", "blocked odd to archive: ", "not authorized", "Remedy: ")
	b.press(".problems", "Retry now")
	b.want("document.getElementById('outcome').textContent", "retry: odd to archive")
	testkit.Eventually(t, 20*time.Second, func() error {
		if got := fake.Stored(); got != 2 {
			return fmt.Errorf("got %d records at Firehose, want 2", got)
		}
		return nil
	})

	// Its deliveries are paused and resumed; then it is removed from the configuration, and forgotten.
	const card = "article[data-destination=archive]"
	state := fmt.Sprintf("document.querySelector('%s .state').textContent", card)
	b.want(state, "running")
	b.confirm(card, "Pause", "Stop deliveries?")
	b.want("document.getElementById('outcome').textContent", "pause: odd to archive")
	b.want(state, "paused")
	b.press(card, "Resume")
	b.want("document.getElementById('outcome').textContent", "resume: odd to archive")
	b.want(state, "running")
	a.configure(streamBlock("odd", "\n  format = \"text\"", fileDestination))
	a.signal(syscall.SIGHUP)
	b.want(state, "parked")
	b.confirm(card, "Forget", "Forget 0 events for good?")
	b.want("document.getElementById('outcome').textContent", "forget: odd to archive")
	b.want(fmt.Sprintf("document.querySelector('%s')", card), "null")
	if got := a.stream("odd").destination("archive").State; got != "forgotten" {
		t.Errorf("got %s, want forgotten", got)
	}

	a.stop()
	b.want("document.getElementById('away').textContent", "The agent does not respond")
	a.start()
	b.want("'[' + document.getElementById('away').textContent + ']'", "[]")
	if faults := b.run("performance.getEntriesByType('resource').map(e => new URL(e.name).host).filter(h => h !== location.host)"); faults != "" {
		t.Errorf("the page loaded from %s", faults)
	}
}

// Two streams are blocked for one cause: one press lets both try again, with one request.
func TestPage_RetriesAGroup(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	fake := fakeaws.Start(t)
	denied := fakeaws.Refuse(400, "AccessDeniedException", "not authorized")
	fake.FailNext(denied, denied)
	patient := strings.Replace(firehoseDestination(fake.URL()), quick, "\n    retry {\n      max = \"1h\"\n    }", 1)
	a := startAgent(t, "", streamBlock("left", patient)+streamBlock("right", patient))
	for _, stream := range []string{"left", "right"} {
		send(t, a.dial(), stream, []event{{"k", `{"n":1}`}})
	}
	b := openPage(t, "http://"+a.admin+"/")
	b.want("document.querySelector('.problems').innerText", "blocked at 2 destinations", "not authorized")
	b.press(".problems", "Retry now")
	b.want("document.getElementById('outcome').textContent", "retry: 2 destinations")
	testkit.Eventually(t, 20*time.Second, func() error {
		if got := fake.Stored(); got != 2 {
			return fmt.Errorf("got %d records at Firehose, want 2", got)
		}
		return nil
	})
	if posts := b.run("performance.getEntriesByType('resource').filter(e => e.name.includes('/v1/destinations/')).length"); posts != "1" {
		t.Errorf("the page made %s requests, want 1", posts)
	}
}

// An operator watches a stream: events appear as text, whatever they contain; a key filters them; a pause misses nothing; and curl gets
// the same.
func TestPage_ShowsEventsAsTheyAreAppended(t *testing.T) {
	endToEnd(t)
	t.Parallel()
	a := startAgent(t, "", streamBlock("odd", "\n  format = \"bytes\"", fileDestination))
	const hostile = `</pre><script>document.title = "taken"</script><img src=x onerror='document.title="taken"'>`
	send(t, a.dial(), "odd", []event{{"k", hostile}, {hostile, "\xff\xfe"}})
	b := openPage(t, "http://"+a.admin+"/")
	b.want("document.readyState + document.title", "complete", "standpipe") // its script has run
	b.press("#figures", "Live view")
	events := "document.getElementById('tail-events').innerText"
	b.want(events, hostile, "base64: //4=", "key "+hostile)
	b.want("document.getElementById('tail-state').textContent", "live")
	if got := b.run("document.querySelectorAll('#tail img, #tail script').length + document.title"); strings.Contains(got, "taken") || got[0] != '0' {
		t.Errorf("the page has elements of an event: %s", got)
	}

	send(t, a.dial(), "odd", []event{{"k", "third"}})
	b.want(events, "third")
	b.press("#tail", "Pause view")
	send(t, a.dial(), "odd", []event{{"k", "fourth"}, {"other", "fifth"}})
	b.want("document.getElementById('figures').innerText", "5 events appended") // a later refresh of the page
	if got := b.run(events); strings.Contains(got, "fourth") {
		t.Errorf("got %q in a paused view", got)
	}
	b.press("#tail", "Go on")
	b.want(events, "fourth", "fifth", "third")
	b.press("#tail", "Close")
	b.want("document.getElementById('tail').hidden", "true")
	b.press("#figures", "Live view")
	b.run("document.getElementById('tail-key').value = 'other'")
	b.press("#tail", "Filter")
	b.want("document.getElementById('tail-events').childElementCount", "1")
	send(t, a.dial(), "odd", []event{{"k", "sixth"}, {"other", "seventh"}})
	b.want(events, "seventh")
	if got := b.run(events); strings.Contains(got, "sixth") || strings.Contains(got, "third") {
		t.Errorf("got %q with a filter", got)
	}

	// The view goes on after a restart of the agent where it was.
	b.press("#figures", "Live view")
	b.want(events, "third")
	a.stop()
	a.start()
	send(t, a.dial(), "odd", []event{{"k", "eighth"}})
	b.want(events, "eighth")
	if got := b.run(fmt.Sprintf("%s.split('seventh').length", events)); got != "2" {
		t.Errorf("got the event before the restart %s times", got)
	}

	curl := testkit.Tool(t, "curl")
	testkit.Eventually(t, time.Minute, func() error { // two seconds are short on a busy machine
		out, err := exec.Command(curl, "-sN", "--max-time", "2", "-H", "Last-Event-ID: 6", "http://"+a.admin+"/v1/streams/odd/tail").Output()
		if code, ended := errors.AsType[*exec.ExitError](err); !ended || code.ExitCode() != 28 { // a timeout
			t.Fatalf("curl: got %v", err)
		}
		if strings.Contains(string(out), `"offset":6`) {
			t.Fatalf("curl: got %s, want what is behind offset 6", out)
		}
		for _, want := range []string{"id: 7\ndata: {\"offset\":7,", "id: 8\ndata: {\"offset\":8,", `"data":"eighth"`} {
			if !strings.Contains(string(out), want) {
				return fmt.Errorf("curl: got %s, want %s", out, want)
			}
		}
		return nil
	})
}
