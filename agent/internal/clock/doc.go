// Package clock watches the clock of the host: whether it is set, and steps.
//
// A gateway without a battery boots with the time of its build, or with a saved one, until a time service sets its clock.
// That may be days later.
//
// # Contract
//
// While the clock is not set, Stamp and Now return times on a timeline: see package timeline. The timeline of a boot
// continues over restarts of the agent. Once the clock is set, the correction of its times is stored, and events are read
// with right times, and Corrected is called: events that were read before have the wrong times. Stepped is called after each
// other step of the clock by a second or more. Both are called at once on Linux, and within 5 s elsewhere.
//
// The clock counts as not set while one of these holds:
//
//   - its time is more than a day before the build of this program;
//   - its time is at least a minute before the last write to the log;
//   - the kernel does not report it as synchronized, did so in an earlier boot with this log, and has not set it from a
//     battery-backed clock.
//
// The last two do not hold once the kernel reports the clock as synchronized, or the clock was stepped since the agent
// started. A host whose kernel never reports a synchronized clock, as in many containers and virtual machines, is judged
// by the first two.
//
// # Limits
//
// A clock that was saved and is later than the last write to the log is noticed by the third rule only. A time service
// that changes a wrong clock slowly, without a step and without the kernel's knowledge, is not noticed. Only Linux has
// IDs of boots: elsewhere a timeline ends with the process, and its events keep their mark if the clock is set later.
package clock
