package commit

import (
	"time"

	"github.com/standpipe/standpipe/wal/internal/queue"
)

// patientMost bounds the bytes of the batches that wait for others to share their commit: a commit of that size gains
// nothing from a longer wait.
const patientMost = 1 << 20

// patientTicket is about the number of bytes that a waiting batch takes in addition to its frames.
const patientTicket = 512

// schedule determines when the queued batches are committed. Committer.mu guards it.
type schedule struct {
	now     bool      // a batch in the queue does not wait for others
	since   time.Time // when by was set
	by      time.Time // the earliest deadline of the patient batches in the queue; zero: there are none
	patient int64     // their bytes
}

// add adds a batch that waits for others for up to linger. It reports whether the committer must look at the schedule.
func (s *schedule) add(linger time.Duration, bytes int64) (changed bool) {
	if linger <= 0 {
		s.now = true
		return true
	}
	now := time.Now()
	if by := now.Add(linger); s.by.IsZero() || by.Before(s.by) {
		s.since, s.by, changed = now, by, true
	}
	s.patient += bytes + patientTicket
	return changed || s.patient >= patientMost
}

// ripe reports whether the queue must be committed now.
func (s *schedule) ripe(now time.Time, impatient bool) bool {
	return s.now || impatient || s.patient >= patientMost || !s.by.IsZero() && !now.Before(s.by)
}

// near reports whether half of the wait is over: then the batches join a checkpoint. If they did so earlier, their
// deliveries would cause the next checkpoint, and so on, and the wait would save little.
func (s *schedule) near(now time.Time) bool {
	return !s.by.IsZero() && now.Sub(s.since) >= s.by.Sub(now)
}

// Hurry makes the committer store the batch, and all others in the queue, without a wait for more.
func (t *Ticket) Hurry() {
	c := t.committer
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schedule.now = c.schedule.now || len(c.queue) > 0
	queue.Poke(c.wake)
}

// Hurry makes the committer store all batches without a wait for more, from now on.
func (c *Committer) Hurry() {
	c.impatient.Store(true)
	c.Wake()
}
