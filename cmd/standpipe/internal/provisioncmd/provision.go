// Package provisioncmd is the command provision: it prints the resources that the Kinesis and Firehose destinations of a configuration
// need in AWS, creates them, or writes them as Terraform.
//
// Contract: standard output has the plan, standard error has progress and messages. The exit code is 0 if nothing is missing or
// everything has been created, ExitPending if a plan has something to create, and 1 on failure.
package provisioncmd

import (
	"fmt"
	"io"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/provision"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

// ExitPending is the exit code of a plan that has something to create.
const ExitPending = 3

type flags struct {
	apply, asJSON bool
	terraform     string
	options       provision.Options
}

// New returns the command.
func New() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "provision FILE",
		Short: "Plan or create the AWS resources of a configuration",
		Long: `Print the AWS resources that the kinesis and firehose destinations of a configuration
need, and which of them are missing: Kinesis streams, Firehose streams with bucket and
role, and CloudWatch alarms. Blocks "provision" of the file choose between variants.

With --apply, create the missing resources, and wait until they are usable. Existing
resources are not changed or deleted: the plan shows how they differ from the file.
After an error, run the command again: it goes on where it ended.

With --terraform DIR, write Terraform for the same resources instead. A file that
has been edited is not overwritten.

The exit code is 0 if nothing is missing or everything was created, 3 if a plan
without --apply has something to create, and 1 on failure. Settings that differ do
not change it.`,
		Example: `  standpipe provision agent.hcl
  standpipe provision agent.hcl --apply
  standpipe provision agent.hcl --stream meter-1 --stream meter-2 --apply
  standpipe provision agent.hcl --terraform infra/`,
		Args: cobra.ExactArgs(1),

		ValidArgsFunction: cli.ConfigFile,
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := agent.Load(args[0])
			if err != nil {
				return fmt.Errorf("%w\n%s is not valid: standpipe validate %s explains it", err, args[0], args[0])
			}
			return f.run(c, conf)
		},
	}
	c.Flags().BoolVar(&f.apply, "apply", false, "create the missing resources")
	c.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	c.Flags().StringVar(&f.terraform, "terraform", "", "write Terraform into this `folder`")
	c.Flags().StringArrayVar(&f.options.Streams, "stream", nil, "the `name` of a stream of a pattern; may be repeated")
	c.MarkFlagsMutuallyExclusive("apply", "terraform")
	c.MarkFlagsMutuallyExclusive("json", "terraform")
	return c
}

func (f *flags) run(c *cobra.Command, conf *config.Config) error {
	ctx, stop := signal.NotifyContext(c.Context(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if f.terraform != "" {
		notes, err := provision.WriteTerraform(ctx, f.terraform, conf, f.options)
		for _, note := range notes {
			fmt.Fprintf(c.ErrOrStderr(), "note: %s\n", note)
		}
		if err != nil {
			return fmt.Errorf("provision: %w", err)
		}
		fmt.Fprintf(c.OutOrStdout(), "Terraform is in %s: terraform -chdir=%s init\n", f.terraform, f.terraform)
		return nil
	}
	plan, err := provision.Read(ctx, conf, f.options)
	if err != nil {
		return fmt.Errorf("provision: %w", err)
	}
	var applied error
	if f.apply {
		applied = plan.Apply(ctx, progress(c.ErrOrStderr()))
	}
	if f.asJSON {
		err = cli.WriteJSON(c.OutOrStdout(), plan)
	} else {
		err = write(c.OutOrStdout(), plan, f.apply)
	}
	switch {
	case applied != nil:
		return fmt.Errorf("provision: %w\n%d of %d created; run the command again to go on", applied, plan.Created(), plan.Created()+plan.Pending())
	case err != nil:
		return err
	case !f.apply && plan.Pending() > 0:
		return &cli.ExitError{Code: ExitPending}
	}
	return nil
}

// progress returns a function that prints the progress of Apply.
func progress(out io.Writer) func(provision.Item, bool) {
	return func(item provision.Item, done bool) {
		text := "creating"
		switch {
		case item.Action == provision.Keep:
			text = "kept" // somebody has created it since the plan
		case done:
			text = "created"
		}
		fmt.Fprintf(out, "%-8s  %s %s\n", text, item.Kind, cli.Printable(item.Name))
	}
}

var styles = map[provision.Action]cli.Style{provision.Create: cli.Warn, provision.Finish: cli.Warn, provision.Created: cli.Good, provision.Keep: cli.Plain}

// write prints a plan for people.
func write(out io.Writer, plan *provision.Plan, applied bool) error {
	screen := cli.ScreenOf(out)
	t := &cli.Table{Columns: screen.Columns, Color: screen.Color}
	differing := 0
	for _, item := range plan.Items {
		t.Mark(styles[item.Action], fmt.Sprintf("%-9s", item.Action), fmt.Sprintf("%s %s (%s): %s", item.Kind, item.Name, item.Region, item.Settings))
		for _, d := range item.Differences {
			t.Mark(cli.Warn, "  differs  ", fmt.Sprintf("%s is %s, and %s in the file", d.Setting, d.Have, d.Want))
		}
		differing += min(1, len(item.Differences))
	}
	for _, note := range plan.Notes {
		t.Mark(cli.Warn, "note     ", note)
	}
	if len(plan.Items) == 0 {
		t.Note("", "No kinesis or firehose destination: nothing is needed.")
	}
	switch {
	case differing == 1:
		t.Note("", "1 resource that exists differs from the file, and stays as it is.")
	case differing > 1:
		t.Note("", cli.Number(differing, "resource")+" that exist differ from the file, and stay as they are.")
	}
	if n := plan.Pending(); n > 0 && !applied {
		t.Note("", cli.Number(n, "resource")+" to create: run it again with --apply.")
	}
	_, err := io.WriteString(out, t.String())
	return err
}
