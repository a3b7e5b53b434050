package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/admin"
	"github.com/standpipe/standpipe/agent/agentlog"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// devDir holds everything that `agent --dev` writes.
const devDir = "standpipe-dev"

func newAgentCommand() *cobra.Command {
	var path string
	var dev bool
	c := &cobra.Command{
		Use:   "agent --config FILE | --dev",
		Short: "Run the agent",
		Long: `Run the agent: accept events from producers on this host, sync them to the
write-ahead log, acknowledge them, and ship them to the destinations of their
streams.

SIGTERM or SIGINT drains and stops, a second one stops at once. Events that are
not shipped by then stay in the log. SIGHUP reloads the file: a file with faults
changes nothing.

With --dev it needs no file and no AWS: data in ./standpipe-dev, gRPC on
127.0.0.1:7710, HTTP on 127.0.0.1:7711, admin on 127.0.0.1:7712, a socket in
the data directory, and all streams are written to files under
standpipe-dev/out. A port that is taken is replaced by a free one.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dev == (path != "") {
				return &cli.ExitError{Code: cli.ExitUsage, Err: errors.New("agent: give either --config FILE or --dev")}
			}
			return runAgent(path, c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&path, "config", "", "the configuration `file` (agent.hcl), or a folder of files *.hcl")
	c.Flags().BoolVar(&dev, "dev", false, "run without a configuration file, to try things out")
	return c
}

// loadConfig reads the file. Without a path it returns the configuration of --dev.
func loadConfig(path string) (*config.Config, error) {
	if path == "" {
		return devConfig()
	}
	return agent.Load(path)
}

func runAgent(path string, stderr io.Writer) error {
	// By default a panic, and SIGABRT of a watchdog, end a Go program with exit code 2. Here that code stands for a
	// configuration with faults, after which no service manager starts the agent again. With "crash" a signal ends it.
	debug.SetTraceback("crash")
	conf, err := loadConfig(path)
	if err != nil {
		return &cli.ExitError{Code: cli.ExitUsage, Err: printFaults(err, stderr)}
	}
	tuner := agent.TuneMemory(conf)
	logger := newLogger(conf, stderr)
	systemd := notifier{logger}
	logger.Info("starting", "version", admin.Version, "commit", admin.Commit(), "config", cmp.Or(path, "--dev"))
	ctx, abort, release := awaitStops(logger)
	defer release()
	defer context.AfterFunc(ctx, systemd.stopping)()
	reloads := make(chan os.Signal, 1) // signals during a reload cause one more
	signal.Notify(reloads, syscall.SIGHUP)
	defer signal.Stop(reloads)

	a, err := agent.New(ctx, conf, logger)
	if err != nil && ctx.Err() != nil {
		logger.Info("stopped during the start", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	defer context.AfterFunc(abort, a.Abort)()
	running, ended := context.WithCancel(context.Background())
	defer ended()
	go tuner.Run(running)
	go func() {
		select {
		case <-a.Running():
			if path == "" {
				fmt.Fprint(stderr, nextSteps(conf))
			}
			systemd.ready()
			systemd.watch(running, a.Live)
		case <-running.Done():
		}
	}()
	reloader := &reloader{agent: a, tuner: tuner, path: path, logger: logger, systemd: systemd}
	if path != "" {
		a.OnReload(reloader.reload)
		go func() {
			for range reloads {
				reloader.reload() // it has logged an error
			}
		}()
	}
	return a.Run(ctx)
}

// awaitStops returns contexts that end with the first and with the second signal to stop. Only these signals end them.
func awaitStops(logger hclog.Logger) (first, second context.Context, release func()) {
	stops := make(chan os.Signal, 2)
	signal.Notify(stops, syscall.SIGTERM, syscall.SIGINT)
	first, stop := context.WithCancel(context.Background())
	second, stopAtOnce := context.WithCancel(context.Background())
	go func() {
		s := <-stops
		logger.Info("signal received: stopping", "signal", s.String())
		stop()
		s = <-stops
		logger.Info("second signal received: stopping at once", "signal", s.String())
		stopAtOnce()
	}()
	return first, second, func() {
		signal.Stop(stops)
		stop()
		stopAtOnce()
	}
}

// reloader applies the configuration file again, for a signal and for the admin listener.
type reloader struct {
	agent   *agent.Agent
	tuner   interface{ SetGoal(bytes int64) }
	path    string
	logger  hclog.Logger
	systemd notifier

	mu sync.Mutex // held by reload, so that a file that was read earlier is not applied later
}

func (r *reloader) reload() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.systemd.reloading()
	defer r.systemd.ready()
	conf, err := agent.Load(r.path)
	if err != nil {
		r.agent.ReloadFailed(err)
	} else {
		err = r.agent.Reload(conf)
	}
	if err != nil {
		r.logger.Error("configuration was not reloaded; the previous one stays in force", "error", err)
		return err
	}
	r.tuner.SetGoal(agent.MemoryGoal(conf))
	return nil
}

func newLogger(conf *config.Config, stderr io.Writer) hclog.Logger {
	return agentlog.New(&hclog.LoggerOptions{
		Name: "standpipe", Output: stderr, Level: hclog.LevelFromString(conf.LogLevel), JSONFormat: conf.LogFormat == "json",
	})
}
