//go:build !linux

package linkwatch

import "context"

// listen watches nothing.
func listen(ctx context.Context, _ func() error) error {
	<-ctx.Done()
	return nil
}

// defaultRoutes returns none.
func defaultRoutes() (map[string]bool, error) { return nil, nil }
