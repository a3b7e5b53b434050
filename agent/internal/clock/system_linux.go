package clock

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Host returns the clocks of this host.
func Host() System {
	s := System{FromRTC: setFromRTC(), Wall: time.Now, Boot: sinceBoot, Synchronized: synchronized, Steps: awaitSteps}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	s.BootID = strings.TrimSpace(string(id))
	if err != nil || s.BootID == "" || sinceBoot() == 0 {
		s.BootID, s.Boot = process()
	}
	return s
}

// sinceBoot returns the time since the boot; 0: the kernel does not have that clock.
func sinceBoot() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &t) != nil {
		return 0
	}
	return time.Duration(t.Nano())
}

// synchronized reports whether the kernel counts the clock as kept by a time service.
func synchronized() bool {
	var t unix.Timex
	state, err := unix.Adjtimex(&t)
	return err == nil && state != unix.TIME_ERROR && t.Status&unix.STA_UNSYNC == 0
}

// setFromRTC reports whether the kernel has set the clock from a clock with a battery when it booted.
func setFromRTC() bool {
	files, _ := filepath.Glob("/sys/class/rtc/*/hctosys")
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.TrimSpace(string(b)) == "1" {
			return true
		}
	}
	return false
}

// awaitSteps waits on a timer that the kernel cancels when the clock is stepped.
func awaitSteps(ctx context.Context, steps chan<- struct{}) error {
	fd, err := unix.TimerfdCreate(unix.CLOCK_REALTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("create timer: %w", err)
	}
	timer := os.NewFile(uintptr(fd), "timer")
	defer timer.Close()
	defer context.AfterFunc(ctx, func() { timer.Close() })()
	raw, err := timer.SyscallConn()
	if err != nil {
		return fmt.Errorf("use timer: %w", err)
	}
	for {
		err := setFarAway(raw)
		if err == nil {
			_, err = timer.Read(make([]byte, 8))
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.ECANCELED):
			poke(steps)
		case err != nil:
			return fmt.Errorf("wait for timer: %w", err)
		default:
			return errors.New("the clock is too far ahead for a timer")
		}
	}
}

// setFarAway sets the timer to a time that does not come.
func setFarAway(timer syscall.RawConn) error {
	at, err := unix.TimeToTimespec(time.Unix(min(int64(math.MaxInt), 1<<33), 0))
	if err != nil {
		return err
	}
	controlled := timer.Control(func(fd uintptr) {
		const flags = unix.TFD_TIMER_ABSTIME | unix.TFD_TIMER_CANCEL_ON_SET
		err = unix.TimerfdSettime(int(fd), flags, &unix.ItimerSpec{Value: at}, nil)
	})
	return errors.Join(controlled, err)
}
