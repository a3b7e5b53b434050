package gateway

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"time"
)

// Quality describes the way in which a Link carries packets.
type Quality struct {
	Rate  int           // bits a second each way
	Delay time.Duration // one way
	Loss  float64       // the part of the packets that is lost, each way
	Queue int           // bytes that wait for the link each way; packets beyond are dropped
}

// Traffic counts the packets of a Link.
type Traffic struct {
	Up, Down      int // bytes from the agent and to it
	Packets, SYNs int // from the agent, also those that a link which is down drops
	Bursts        int // runs of packets from the agent or to it with pauses of at least 5 s between them
	Silence       time.Duration
	Busy          map[int]bool // the seconds since the start in which the agent's bytes were carried
}

// Link carries packets between two network devices.
type Link struct {
	quality Quality
	ends    [2]*os.File // the agent's, the service's

	mu      sync.Mutex
	rand    *rand.Rand
	up      bool
	outage  int // the number of times that the link went down
	free    [2]time.Time
	began   time.Time
	last    time.Time // of a packet from the agent
	traffic Traffic
	closed  chan struct{}
	all     sync.WaitGroup
}

func newLink(q Quality, agent, service *os.File) *Link {
	now := time.Now()
	l := &Link{
		quality: q, ends: [2]*os.File{agent, service}, rand: rand.New(rand.NewPCG(1, 2)), up: true,
		began: now, last: now, traffic: Traffic{Busy: make(map[int]bool)}, closed: make(chan struct{}),
	}
	for side := range l.ends {
		queue := make(chan packet, 4096)
		l.all.Go(func() { l.read(side, queue) })
		l.all.Go(func() { l.write(1-side, queue) })
	}
	return l
}

// packet is one that the link has taken.
type packet struct {
	data   []byte
	due    time.Time // when it arrives
	outage int       // the outages before it was taken
	lost   bool
}

// Set takes the link up or down. Packets on it are lost when it goes down.
func (l *Link) Set(up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up && !up {
		l.outage++
		l.free = [2]time.Time{}
	}
	l.up = up
}

// Began returns the time at which the seconds of Traffic.Busy begin.
func (l *Link) Began() time.Time { return l.began }

// Traffic returns a copy of the counts.
func (l *Link) Traffic() Traffic {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.traffic
	t.Busy = make(map[int]bool, len(l.traffic.Busy))
	for s := range l.traffic.Busy {
		t.Busy[s] = true
	}
	t.Silence = max(t.Silence, time.Since(l.last))
	return t
}

// read takes the packets of one end until the device is closed.
func (l *Link) read(side int, queue chan<- packet) {
	defer close(queue)
	buffer := make([]byte, 2048)
	for {
		n, err := l.ends[side].Read(buffer)
		if errors.Is(err, os.ErrClosed) {
			return
		}
		if err != nil { // the device is down
			select {
			case <-time.After(10 * time.Millisecond):
			case <-l.closed:
			}
			continue
		}
		if p, ok := l.take(side, buffer[:n]); ok {
			select {
			case queue <- p:
			case <-l.closed:
				return
			}
		}
	}
}

// take decides about a packet from one end.
func (l *Link) take(side int, data []byte) (packet, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(data) == 0 || data[0]>>4 != 4 { // the kernel's IPv6 neighbour discovery is no traffic of the agent
		return packet{}, false
	}
	now := time.Now()
	if side == 0 {
		l.noteLocked(data, now)
	}
	if !l.up {
		return packet{}, false
	}
	rate := float64(l.quality.Rate) / 8 // bytes a second
	begin := l.free[side]
	if begin.Before(now) {
		begin = now
	}
	if waiting := begin.Sub(now).Seconds() * rate; int(waiting)+len(data) > l.quality.Queue {
		return packet{}, false
	}
	l.free[side] = begin.Add(time.Duration(float64(len(data)) / rate * 1e9))
	if side == 0 {
		l.traffic.Up += len(data)
		l.traffic.Busy[int(now.Sub(l.began).Seconds())] = true
	} else {
		l.traffic.Down += len(data)
	}
	return packet{
		data: append([]byte(nil), data...), due: l.free[side].Add(l.quality.Delay),
		outage: l.outage, lost: l.rand.Float64() < l.quality.Loss,
	}, true
}

// noteLocked counts a packet of the agent.
func (l *Link) noteLocked(data []byte, now time.Time) {
	const pause = 5 * time.Second
	l.traffic.Packets++
	silent := now.Sub(l.last)
	if silent >= pause || l.traffic.Packets == 1 {
		l.traffic.Bursts++
	}
	l.traffic.Silence = max(l.traffic.Silence, silent)
	l.last = now
	if isSYN(data) {
		l.traffic.SYNs++
	}
}

// isSYN reports whether an IPv4 packet opens a TCP connection.
func isSYN(data []byte) bool {
	header := int(data[0]&0x0f) * 4
	if len(data) < header+20 || data[9] != 6 || binary.BigEndian.Uint16(data[6:])&0x1fff != 0 {
		return false
	}
	return data[header+13]&0x12 == 0x02
}

// write delivers packets to one end when they are due.
func (l *Link) write(side int, queue <-chan packet) {
	for p := range queue {
		wait := time.NewTimer(time.Until(p.due))
		select {
		case <-wait.C:
		case <-l.closed:
			wait.Stop()
			return
		}
		if l.arrives(&p) {
			_, _ = l.ends[side].Write(p.data) // a device that drops it is a part of the link
		}
	}
}

func (l *Link) arrives(p *packet) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !p.lost && l.up && l.outage == p.outage
}

func (l *Link) close() {
	close(l.closed)
	for _, end := range l.ends {
		end.Close()
	}
	l.all.Wait()
}
