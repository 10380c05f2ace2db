// Command workbench runs the interface in front of a made-up session, to be looked at.
//
//	go run ./tui/internal/workbench -step 240 -every 200ms
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"lathe/tui"
	"lathe/tui/internal/synthetic"
)

func main() {
	step := flag.Int("step", 240, "steps already trained; 0 shows a run.yaml on the table, -1 an empty workspace")
	every := flag.Duration("every", 250*time.Millisecond, "time of a step")
	front := flag.String("front", "train", "pane shown first")
	theme := flag.String("theme", "", "theme; empty fits the terminal")
	ascii := flag.Bool("ascii", false, "plain characters")
	flag.Parse()
	live := synthetic.NewLive(synthetic.At(*step))
	stop := make(chan struct{})
	go live.Run(*every, stop)
	err := tui.Run(context.Background(), tui.Options{Session: live, Feed: live, Front: *front, Theme: *theme, ASCII: *ascii})
	close(stop)
	if err != nil {
		fmt.Fprintln(os.Stderr, "workbench:", err)
		os.Exit(1)
	}
}
