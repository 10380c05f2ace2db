// Command gpucheck checks and measures the CUDA device on a host with a GPU, which needs no Go: one folder of binaries goes there.
//
//	go run ./tools/gpucheck pack --out /tmp/gpucheck      # here, with Go: a folder of one binary and the small reference runs
//	/tmp/gpucheck/gpucheck run --out report               # there: a report in Markdown and JSON, for docs/gpu/
//	/tmp/gpucheck/gpucheck run --only suite,kernels       # parts of it; `gpucheck list` names them
//
// Each part is a process of its own with its own limit: one that hangs, or loses the GPU, costs only itself. With --emulator the
// folder holds the emulated driver too, for a rehearsal without a GPU (run --emulator): the same code, small sizes, no times.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"lathe/internal/cli"
)

// errFailed: the report tells what failed.
var errFailed = errors.New("some parts failed")

const usage = `usage:
  gpucheck pack --out DIR [--archive] [--emulator] …  make the folder (needs Go and a checkout)
  gpucheck run [--out DIR] [--only PART,…] [--quick] …        run it on a GPU host; -h lists the flags
  gpucheck list                                               the parts and their limits
`

func main() {
	err := dispatch(os.Args[1:], os.Stdout)
	switch {
	case err == nil:
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "gpucheck:", err)
		os.Exit(1)
	}
}

func dispatch(args []string, stdout io.Writer) error {
	if len(args) == 0 {
		fmt.Fprint(os.Stderr, usage)
		return flag.ErrHelp
	}
	switch args[0] {
	case "pack":
		return pack(args[1:], stdout)
	case "run":
		return run(args[1:], stdout)
	case "list":
		for _, p := range parts {
			fmt.Fprintf(stdout, "%-9s %4.0fs  %s\n", p.name, p.limit.Seconds(), p.what)
		}
		return nil
	case "lathe": // the program itself, so that one binary is enough: the folder's lathe is a script that calls this
		os.Exit(cli.Main(args[1:]))
	case "part":
		return runPart(args[1:])
	case "modules":
		return runModules(args[1:], stdout)
	case "suite":
		return runSuite(args[1:])
	}
	return fmt.Errorf("%q is no command; %s", args[0], usage)
}
