package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/standpipe/standpipe/agent"
	"github.com/standpipe/standpipe/agent/iam"
	"github.com/standpipe/standpipe/agent/provision"
	"github.com/standpipe/standpipe/cmd/standpipe/internal/cli"
)

func newIAMCommand() *cobra.Command {
	var o iam.Options
	var provisions bool
	c := &cobra.Command{
		Use:   "iam FILE",
		Short: "Print the least IAM policy for a configuration",
		Long: `Print the least IAM policy for the destinations of a configuration, as JSON, with the
names and ARNs of the file. A part that is not in the file is *.

With --role, print the policy of the destinations that assume this role. With
--provision, print the policy of a caller of standpipe provision, which creates
the streams, instead of the agent's.`,
		Args: cobra.ExactArgs(1),

		ValidArgsFunction: cli.ConfigFile,
		RunE: func(c *cobra.Command, args []string) error {
			conf, err := agent.Load(args[0])
			if err != nil {
				return &cli.ExitError{Code: cli.ExitFailed, Err: printFaults(err, c.ErrOrStderr())}
			}
			policy := iam.Policy(conf, o)
			if provisions {
				if policy, err = provision.Policy(conf, o.Account); err != nil {
					return fmt.Errorf("iam: %w", err)
				}
			}
			if len(policy.Statement) == 0 {
				return fmt.Errorf("iam: no destination of %s needs a right of AWS", args[0])
			}
			if roles := iam.Roles(conf); o.Role == "" && !provisions && len(roles) > 0 {
				fmt.Fprintf(c.ErrOrStderr(), "%s assumed by destinations: --role ARN prints the policy of one, such as %s\n", cli.Number(len(roles), "role"), roles[0])
			}
			return cli.WriteJSON(c.OutOrStdout(), policy)
		},
	}
	c.Flags().StringVar(&o.Account, "account", "", "the `number` of the account of the resources")
	c.Flags().StringVar(&o.Role, "role", "", "only the destinations that assume the role with this `ARN`")
	c.Flags().BoolVar(&provisions, "provision", false, "the rights of standpipe provision")
	c.MarkFlagsMutuallyExclusive("role", "provision")
	return c
}
