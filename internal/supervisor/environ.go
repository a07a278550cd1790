package supervisor

import (
	"os"
	"strings"
)

// Environ returns the worker's environment: lifeline's own, without the variables that
// a supervisor above set for lifeline, and with add.
func Environ(add []string) []string { return merge(inherited(os.Environ()), add) }

// forUs has the variables that a supervisor above, or the operator, sets for lifeline
// alone. The worker gets its own or none.
var forUs = map[string]bool{
	"NOTIFY_SOCKET": true, "WATCHDOG_USEC": true, "WATCHDOG_PID": true,
	"LISTEN_FDS": true, "LISTEN_PID": true, "LISTEN_FDNAMES": true, "LISTEN_PIDFDID": true, "SERVER_STARTER_PORT": true,
	"LIFELINE_NAME": true, "LIFELINE_SPACE": true, "LIFELINE_ID": true, "LIFELINE_SUPERVISOR": true,
	"LIFELINE_FD": true, "LIFELINE_FENCE": true, "LIFELINE_TICK": true, "LIFELINE_HANDED": true,
	"LIFELINE_CLUSTER_PASSWORD": true, "LIFELINE_CLUSTER": true, "LIFELINE_CLUSTER_PREFIX": true,
	"LIFELINE_PING_URL": true,
}

func inherited(env []string) []string {
	kept := make([]string, 0, len(env))
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); !forUs[name] {
			kept = append(kept, kv)
		}
	}
	return kept
}

// merge returns env with the variables of add in place of those with the same name. The
// last variable of a name in add counts.
func merge(env, add []string) []string {
	if len(add) == 0 {
		return env
	}
	last := map[string]string{}
	for _, kv := range add {
		name, _, _ := strings.Cut(kv, "=")
		last[name] = kv
	}
	out := make([]string, 0, len(env)+len(add))
	for _, kv := range env {
		if name, _, _ := strings.Cut(kv, "="); last[name] == "" {
			out = append(out, kv)
		}
	}
	for _, kv := range add {
		if name, _, _ := strings.Cut(kv, "="); last[name] == kv {
			out = append(out, kv)
			delete(last, name)
		}
	}
	return out
}
