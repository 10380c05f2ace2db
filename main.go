// Command lathe is a terminal workbench for fine-tuning open-weight language models.
package main

import (
	"os"

	"lathe/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:])) }
