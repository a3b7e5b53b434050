package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/standpipe/standpipe/agent/admin"
)

// dead is a Dead that records its arguments.
type dead struct {
	query  admin.DeadQuery
	choice admin.DeadChoice
	asked  string
	err    error
}

func (d *dead) List(_ context.Context, q admin.DeadQuery) (admin.DeadList, error) {
	d.asked, d.query = "list", q
	return admin.DeadList{Next: 7}, d.err
}

func (d *dead) Show(_ context.Context, id uint64) (admin.DeadLetter, error) {
	d.asked = fmt.Sprint("show ", id)
	letter := admin.DeadLetter{DeadStat: admin.DeadStat{ID: id}}
	letter.SetData([]byte{0xff, byte(id)})
	return letter, d.err
}

func (d *dead) Requeue(_ context.Context, c admin.DeadChoice) (admin.DeadOutcome, error) {
	d.asked, d.choice = "requeue", c
	return admin.DeadOutcome{Requeued: 3}, d.err
}

func (d *dead) Drop(_ context.Context, c admin.DeadChoice) (admin.DeadOutcome, error) {
	d.asked, d.choice = "drop", c
	return admin.DeadOutcome{Dropped: 2}, d.err
}

// askDead sends a request with headers "Name: value".
func askDead(d *dead, method, path, body string, headers ...string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	admin.New(admin.Options{Source: &source{}, Dead: d}).ServeHTTP(w, r)
	return w
}

const isJSON = "Content-Type: application/json"

func TestDeadLetters_List(t *testing.T) {
	var d dead
	w := askDead(&d, "GET", "/v1/dead?stream=s&destination=d&after=5&limit=9", "")
	want := admin.DeadQuery{Stream: "s", Destination: "d", After: 5, Limit: 9}
	if w.Code != 200 || d.query != want {
		t.Errorf("got %d, %+v, want %+v", w.Code, d.query, want)
	}
	wantText(t, w.Body.String(), `"letters": []`, `"next": 7`)
	if askDead(&d, "GET", "/v1/dead", ""); d.query != (admin.DeadQuery{Limit: admin.MaxDeadList}) {
		t.Errorf("got %+v, want the first of all", d.query)
	}
}

func TestDeadLetters_Show(t *testing.T) {
	w := askDead(&dead{}, "GET", "/v1/dead/12", "")
	wantText(t, w.Body.String(), `"id": 12`, `"data_base64": "/ww="`, `"attributes": {}`)
	if strings.Contains(w.Body.String(), `"data"`) {
		t.Errorf("got %s, want no data as text", w.Body)
	}
	empty := admin.DeadLetter{}
	empty.SetData(nil)
	if text, err := json.Marshal(empty); err != nil || !strings.Contains(string(text), `"data":""`) {
		t.Errorf("got %s, %v, want empty data told", text, err)
	}
}

func TestDeadLetters_Change(t *testing.T) {
	for _, test := range []struct {
		path, body, asked string
		want              admin.DeadChoice
	}{
		{"requeue", `{"ids":[1,2]}`, `"requeued": 3`, admin.DeadChoice{IDs: []uint64{1, 2}}},
		{"drop", `{"stream":"s","destination":"d"}`, `"dropped": 2`, admin.DeadChoice{Stream: "s", Destination: "d"}},
		{"drop", `{"all":true,"after":4,"until":6}`, `"refused": []`, admin.DeadChoice{All: true, After: 4, Until: 6}},
	} {
		var d dead
		w := askDead(&d, "POST", "/v1/dead/"+test.path, test.body, "Content-Type: application/json; charset=utf-8")
		if w.Code != 200 || d.asked != test.path || !reflect.DeepEqual(d.choice, test.want) {
			t.Errorf("%s: got %d, %s, %+v, want %+v", test.body, w.Code, d.asked, d.choice, test.want)
		}
		wantText(t, w.Body.String(), test.asked)
	}
}

func TestDeadLetters_RejectedRequests(t *testing.T) {
	many := `{"ids":[` + strings.Repeat("1,", admin.MaxDeadIDs) + `1]}`
	for _, test := range []struct {
		method, path, body string
		headers            []string
		code               int
	}{
		{"GET", "/v1/dead?limit=0", "", nil, 400},
		{"GET", "/v1/dead?limit=1001", "", nil, 400},
		{"GET", "/v1/dead?after=x", "", nil, 400},
		{"GET", "/v1/dead/x", "", nil, 400},
		{"GET", "/v1/dead/-1", "", nil, 400},
		{"DELETE", "/v1/dead/1", "", nil, 405},
		{"POST", "/v1/dead", "", []string{isJSON}, 405},
		{"POST", "/v1/dead/drop", `{"all":true}`, nil, 415},
		{"POST", "/v1/dead/drop", `{"all":true}`, []string{"Content-Type: text/plain"}, 415},
		{"POST", "/v1/dead/drop", `all=true`, []string{"Content-Type: application/x-www-form-urlencoded"}, 415},
		{"POST", "/v1/dead/drop", `{}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", ``, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"ids":[]}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"ids":[-1]}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"ids":[1],"all":true}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"stream":"s","all":true}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"stream":"s","destinaton":"d"}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"all":true}{"all":true}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", many, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"stream":"` + strings.Repeat("s", 65<<10) + `"}`, []string{isJSON}, 400},
		{"POST", "/v1/dead/drop", `{"all":true}`, []string{isJSON, "Origin: http://other.example"}, 403},
		{"POST", "/v1/dead/drop", `{"all":true}`, []string{isJSON, "Origin: null"}, 403},
		{"POST", "/v1/dead/drop", `{"all":true}`, []string{isJSON, "Origin: http://example.com:7711"}, 403},
		{"POST", "/v1/dead/drop", `{"all":true}`, []string{isJSON, "Origin: http://example.com", "Sec-Fetch-Site: cross-site"}, 403},
		{"POST", "/v1/dead/drop", `{"all":true}`, []string{"Content-Type: text/plain", "Origin: http://example.com", "Sec-Fetch-Site: same-origin"}, 415},
		{"POST", "/v1/dead/requeue", `{"all":true}`, []string{isJSON, "Sec-Fetch-Site: cross-site"}, 403},
		{"POST", "/v1/dead/requeue", `{"all":true}`, []string{isJSON, "Sec-Fetch-Site: same-site"}, 403},
		{"GET", "/v1/dead/1", "", []string{"Sec-Fetch-Site: cross-site"}, 403},
		{"GET", "/v1/dead", "", []string{"Origin: http://other.example"}, 403},
	} {
		var d dead
		w := askDead(&d, test.method, test.path, test.body, test.headers...)
		if w.Code != test.code || d.asked != "" {
			t.Errorf("%s %s %.40s %v: got %d, asked for %q, want %d", test.method, test.path, test.body, test.headers, w.Code, d.asked, test.code)
		}
	}
	if w := askDead(&dead{}, "GET", "/v1/dead", "", "Sec-Fetch-Site: none"); w.Code != 200 {
		t.Errorf("a typed address: got %d, want 200", w.Code)
	}
}

func TestDeadLetters_Errors(t *testing.T) {
	for code, err := range map[int]error{
		404: fmt.Errorf("%w: id 1", admin.ErrNoLetter), 503: fmt.Errorf("%w: stopping", admin.ErrUnavailable), 500: errors.New("the disk is gone"),
	} {
		for _, w := range []*httptest.ResponseRecorder{
			askDead(&dead{err: err}, "GET", "/v1/dead/1", ""), askDead(&dead{err: err}, "POST", "/v1/dead/requeue", `{"all":true}`, isJSON),
		} {
			if w.Code != code || w.Body.String() != err.Error()+"\n" {
				t.Errorf("%v: got %d, %s, want %d", err, w.Code, w.Body, code)
			}
		}
	}
}

func TestDeadLetters_None(t *testing.T) {
	if w := ask(t, serve(&source{}, nil), "GET", "/v1/dead"); w.Code != 404 {
		t.Errorf("got %d, want 404", w.Code)
	}
}
