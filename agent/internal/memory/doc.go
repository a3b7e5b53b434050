// Package memory keeps the memory of an agent within the bound of its process: the setting, the cgroup or the host.
//
// # Contract
//
//   - Detect reads the limits of the process's cgroup and of its ancestors, of version 1 and 2, and the memory of the host.
//     The least of them counts. Platforms without these files have no bound.
//   - A Tuner sets the memory limit of the Go runtime. It is at most RuntimePart of the bound: the rest is for a garbage
//     collection that comes late, the program's own data, and the pages of the log that the kernel counts for the process
//     and takes back.
//   - Below that, the limit follows the live heap, so that the collector rests between two collections however many streams
//     are open.
//   - Once an agent that was busy is idle, the Tuner collects garbage and returns free pages to the host, once.
//   - ForShipper and ForRequests divide a small bound among the parts that hold events.
//
// The package does nothing per event: a Tuner looks at the runtime every few seconds.
package memory
