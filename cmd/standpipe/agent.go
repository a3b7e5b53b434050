package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/agentlog"
	"github.com/standpipe/standpipe/agent/config"
)

// devDir holds everything that `agent --dev` writes.
const devDir = "standpipe-dev"

func newAgentCommand() *cobra.Command {
	var path string
	var dev bool
	c := &cobra.Command{
		Use:   "agent --config FILE | --dev",
		Short: "Run the agent",
		Long: `Run the agent: take events from producers on this host, sync them to the log,
acknowledge them, and ship them to the destinations of their streams.

SIGTERM or SIGINT drains and stops, a second one stops at once; what is not
shipped by then stays in the log. SIGHUP reads the file again: a file with
faults changes nothing.

With --dev it needs no file and no AWS: data in ./standpipe-dev, gRPC on
127.0.0.1:7710, admin on 127.0.0.1:7712, a socket in the data directory, and
every stream goes to files under standpipe-dev/out.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dev == (path != "") {
				return &exitError{code: exitUsage, err: errors.New("agent: give either --config FILE or --dev")}
			}
			return runAgent(path, c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&path, "config", "", "the configuration's file (agent.hcl)")
	c.Flags().BoolVar(&dev, "dev", false, "run with no file, for trying things out")
	return c
}

// loadConfig reads the file, or returns the configuration of --dev when there is no path.
func loadConfig(path string) (*config.Config, error) {
	if path == "" {
		return config.Dev(devDir), nil
	}
	return config.Load(path)
}

func runAgent(path string, stderr io.Writer) error {
	conf, err := loadConfig(path)
	if err != nil {
		return &exitError{code: exitUsage, err: sayFaults(err, stderr)}
	}
	agent.TuneMemory(conf)
	logger := newLogger(conf, stderr)
	ctx, hurry, release := awaitStops(logger)
	defer release()
	reloads := make(chan os.Signal, 1) // those that arrive during a reload make one
	signal.Notify(reloads, syscall.SIGHUP)
	defer signal.Stop(reloads)

	a, err := agent.New(ctx, conf, logger)
	if err != nil && ctx.Err() != nil {
		logger.Info("stopped before it had begun", "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	defer context.AfterFunc(hurry, a.Abort)()
	go func() {
		for range reloads {
			reload(a, path, logger)
		}
	}()
	return a.Run(ctx)
}

// awaitStops returns contexts that end with the first and with the second signal to stop the agent.
// Nothing but these signals ends them, and nothing keeps them from being read.
func awaitStops(logger hclog.Logger) (first, second context.Context, release func()) {
	stops := make(chan os.Signal, 2)
	signal.Notify(stops, syscall.SIGTERM, syscall.SIGINT)
	first, stop := context.WithCancel(context.Background())
	second, hurry := context.WithCancel(context.Background())
	go func() {
		s := <-stops
		logger.Info("asked to stop", "signal", s.String())
		stop()
		s = <-stops
		logger.Info("asked to stop at once", "signal", s.String())
		hurry()
	}()
	return first, second, func() {
		signal.Stop(stops)
		stop()
		hurry()
	}
}

// reload reads the file again.
func reload(a *agent.Agent, path string, logger hclog.Logger) {
	if path == "" {
		return // there is no file
	}
	conf, err := config.Load(path)
	if err == nil {
		err = a.Reload(conf)
	}
	if err != nil {
		logger.Error("the configuration was not reloaded; the one before stays in force", "error", err)
		return
	}
	agent.TuneMemory(conf)
}

func newLogger(conf *config.Config, stderr io.Writer) hclog.Logger {
	return agentlog.New(&hclog.LoggerOptions{
		Name: "standpipe", Output: stderr, Level: hclog.LevelFromString(conf.LogLevel), JSONFormat: conf.LogFormat == "json",
	})
}
