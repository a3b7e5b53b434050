package boltpage

import "testing"

// FuzzPage checks that parsing a page with any content neither panics nor returns bytes beyond the page.
func FuzzPage(f *testing.F) {
	f.Add([]byte{})
	f.Add(make([]byte, 4096))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x10\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00" + "kv"))
	f.Add([]byte("\x02\x00\x00\x00\x00\x00\x00\x00\x01\x00\x01\x00\x00\x00\x00\x00" + "\x10\x00\x00\x00\x01\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00" + "k"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, fault := parsePage(2, b)
		if fault != "" {
			return
		}
		if p.used > len(b) || !p.leaf && len(p.Elements) == 0 {
			t.Errorf("got %d bytes in use and %d elements on a page of %d bytes", p.used, len(p.Elements), len(b))
		}
		for i, e := range p.Elements {
			if got := p.Find(e.Key); got != i {
				t.Errorf("found element %d at %d", i, got)
			}
		}
	})
}
