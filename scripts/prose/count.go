package main

import (
	"regexp"
	"strings"
)

// maxSentence is the most words of a sentence.
const maxSentence = 40

// tally counts words and findings.
type tally struct {
	words, relatives, long, persons int
}

// finding is one habit in one sentence.
type finding struct{ kind, text string }

func (t *tally) plus(o *tally) {
	t.words += o.words
	t.relatives += o.relatives
	t.long += o.long
	t.persons += o.persons
}

// per1000 returns n for each 1,000 words.
func (t *tally) per1000(n int) float64 {
	return 1000 * float64(n) / float64(max(t.words, 1))
}

// over reports whether there are too many findings: free relatives have the limit, persons of code a quarter of it.
func (t *tally) over(limit float64) bool {
	return t.long > 0 || t.relatives > 1 && t.per1000(t.relatives) >= limit || t.persons > 1 && t.per1000(t.persons) >= limit/4
}

var (
	word = regexp.MustCompile(`\pL[\pL\pN'’.-]*`)
	// A quotation is another's words; code has no style.
	aside = regexp.MustCompile("`[^`]*`|\"[^\"]*\"|“[^”]*”")
	// An end of a sentence: not the dot of a number, a name or an abbreviation.
	end = regexp.MustCompile(`[.!?]["')”]?\s+(?:[\p{Lu}\pN("“'` + "`" + `]|$)`)

	// A clause that stands for a noun which is not named.
	relative = regexp.MustCompile(`(?i)\b(?:whatever|whoever|whichever)\b|\bwhat\b|(?:^|[.;:,(]\s*|\b(?:and|or|but|of|to|by|for|from|with) )who\b|\bof which\b|\btells? whether\b`)
	// A question, and an answer that names it, are no such clauses.
	question = regexp.MustCompile(`\?\s*$|(?i)^what(?: is|'s)? (?:it|this|to)\b`)
	// Verbs of persons; the subject of each sentence here is a program, a file or an event.
	person = regexp.MustCompile(`(?i)\b(?:told|tells?|telling|hears? of|heard|asks?|asked|forgets|forgot|says|said|speaks?|believes?|believed|learns?|listens to|remembers?|wants|hopes|thinks|gossips?|somebody|nobody)\b`)
)

// add counts text and returns its findings.
func (t *tally) add(text text) (found []finding) {
	for _, s := range sentences(text.words) {
		clean := aside.ReplaceAllString(s, "Q")
		n := len(word.FindAllString(clean, -1))
		t.words += n
		if n > maxSentence {
			t.long++
			found = append(found, finding{"long sentence", s})
		}
		if !question.MatchString(clean) {
			for _, m := range relative.FindAllString(clean, -1) {
				t.relatives++
				found = append(found, finding{"free relative " + strings.Trim(m, " .,;:("), s})
			}
		}
		for _, m := range person.FindAllString(clean, -1) {
			t.persons++
			found = append(found, finding{"person of code " + m, s})
		}
	}
	return found
}

// sentences splits a paragraph.
func sentences(paragraph string) (all []string) {
	paragraph = strings.Join(strings.Fields(paragraph), " ")
	for {
		at := end.FindStringIndex(paragraph + " ")
		if at == nil || at[1] >= len(paragraph) {
			break
		}
		cut := at[0] + 1
		all = append(all, strings.TrimSpace(paragraph[:cut]))
		paragraph = strings.TrimSpace(paragraph[cut:])
	}
	if paragraph != "" {
		all = append(all, paragraph)
	}
	return all
}
