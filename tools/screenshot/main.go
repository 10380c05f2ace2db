// Command screenshot turns a captured terminal screen into an SVG.
//
//	tmux capture-pane -e -p -t lathe | go run ./tools/screenshot -o docs/train.svg
//
// It reads text with colour sequences from stdin. Blocks, lines and braille
// are drawn as shapes, so that the picture does not depend on the reader's
// fonts; everything else is text, laid out on the grid of cells.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"lathe/themes"
)

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "screenshot:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	flags := flag.NewFlagSet("screenshot", flag.ContinueOnError)
	to := flags.String("o", "", "file to write; stdout unless set")
	theme := flags.String("theme", "dark", "theme whose background and text colour the terminal has")
	title := flags.String("title", "", "window title; no title bar unless set")
	if err := flags.Parse(args); err != nil {
		return err
	}
	th, err := themes.New(themes.Options{Name: *theme})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read screen: %w", err)
	}
	svg := render(string(text), look{
		background: th.Hex(themes.Base), foreground: th.Hex(themes.Text), border: th.Hex(themes.Border), title: *title,
	})
	if *to == "" {
		_, err = io.WriteString(out, svg)
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(*to), ".screenshot-*")
	if err != nil {
		return fmt.Errorf("create %s: %w", *to, err)
	}
	defer os.Remove(tmp.Name())
	if _, err = tmp.WriteString(svg); err == nil {
		err = tmp.Chmod(0o644)
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", *to, err)
	}
	return os.Rename(tmp.Name(), *to)
}
