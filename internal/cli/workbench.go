package cli

import (
	"context"

	"github.com/spf13/cobra"

	"lathe/internal/demo"
)

// addWorkbench makes the bare command open the workbench.
func addWorkbench(e *env, root *cobra.Command) {
	root.RunE = func(cmd *cobra.Command, args []string) error {
		return usage("no workbench yet")
	}
}

func (e *env) demoWorkbench(ctx context.Context, files demo.Files) error {
	return e.demoHeadless(ctx, files)
}
