package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// ErrNotConfirmed is returned by Confirm after any answer but y or yes.
var ErrNotConfirmed = errors.New("nothing was done; answer y, or use --yes")

// Confirm prints the question on standard error and waits for a line of standard input.
func Confirm(c *cobra.Command, question string) error {
	fmt.Fprintf(c.ErrOrStderr(), "%s [y/N] ", question)
	answer, err := bufio.NewReader(c.InOrStdin()).ReadString('\n')
	if err != nil && err != io.EOF {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return ErrNotConfirmed
	}
	return nil
}

// Interactive reports whether a person can answer: standard input is a terminal.
func Interactive(c *cobra.Command) bool {
	file, ok := c.InOrStdin().(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}
