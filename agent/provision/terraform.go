package provision

import (
	"context"
	"fmt"

	"github.com/standpipe/standpipe/agent/config"
	"github.com/standpipe/standpipe/agent/iam"
	"github.com/standpipe/standpipe/agent/provision/internal/cloud"
	"github.com/standpipe/standpipe/agent/provision/internal/terraform"
	"github.com/standpipe/standpipe/agent/provision/internal/wanted"
)

// WriteTerraform writes the resources of a configuration as Terraform to a folder, and returns notes. It sends no request. A file
// there that it has not written, or that was edited, is an error, and then no file is written.
func WriteTerraform(ctx context.Context, folder string, conf *config.Config, o Options) ([]string, error) {
	set, err := wanted.From(conf, wanted.Options{Streams: o.Streams, At: regions(ctx, &cloud.Cloud{})})
	if err != nil {
		return nil, err
	}
	files, err := terraform.Files(set, iam.Policy(conf, iam.Options{}))
	if err != nil {
		return notes(set), err
	}
	if err := terraform.Write(folder, files); err != nil {
		return nil, fmt.Errorf("write terraform: %w", err)
	}
	return notes(set), nil
}
