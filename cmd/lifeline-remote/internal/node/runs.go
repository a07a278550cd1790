package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"lifeline/internal/cluster/engine"
)

// runsCommand prints the latest scheduled runs of a name: the latest last in the table,
// and first in JSON.
func runsCommand(ctx context.Context, args []string) error {
	asJSON := len(args) > 0 && args[0] == "--json"
	if asJSON {
		args = args[1:]
	}
	url, rest, err := wordsOf(args, 1, "runs takes NAME")
	if err != nil {
		return err
	}
	e, err := ask(ctx, url, "")
	if err != nil {
		return err
	}
	defer e.Close()
	runs, err := e.Runs(ctx, rest[0])
	if err != nil {
		return err
	}
	mark, err := e.Mark(ctx, rest[0])
	if err != nil {
		return err
	}
	if asJSON {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(append([]engine.Run{}, runs...))
	}
	if len(runs) == 0 {
		return engine.Refuse("%s: no scheduled run is known", rest[0])
	}
	w := tabwriter.NewWriter(printable{os.Stdout}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TICK\tNODE\tFENCE\tBEGAN\tTOOK\tEND")
	for i := len(runs) - 1; i >= 0; i-- {
		r := runs[i]
		took, end := "-", endOf(r, mark)
		if !r.Ended.IsZero() {
			took = max(r.Ended.Sub(r.Began), 0).Round(time.Millisecond).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%s\t%s\n", r.Label.UTC().Format(time.RFC3339), r.Node, r.Fence,
			r.Began.Local().Format(time.DateTime), took, end)
	}
	return w.Flush()
}

// endOf returns how a run ended, in words.
func endOf(r engine.Run, mark engine.Mark) string {
	switch {
	case !r.Ended.IsZero() && r.Code == 0:
		return "ok"
	case !r.Ended.IsZero():
		return fmt.Sprintf("code %d", r.Code)
	case mark.Claimed.After(mark.Done) && mark.Claimed.Equal(r.Label):
		return "runs, or its node died"
	}
	return "its end wasn't written"
}
