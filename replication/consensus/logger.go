package consensus

import (
	"context"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// newLogger gives Raft a logger that ends in ours. Raft logs no commands, so nothing secret
// can come this way.
func newLogger(log *slog.Logger) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "raft", Level: hclog.Debug, Output: lineWriter{log}, DisableTime: true,
	})
}

type lineWriter struct{ log *slog.Logger }

// To Raft it is an error when a node cannot be reached; to us it is a reason to look.
var levels = map[string]slog.Level{
	"[TRACE]": slog.LevelDebug, "[DEBUG]": slog.LevelDebug, "[INFO]": slog.LevelInfo,
	"[WARN]": slog.LevelWarn, "[ERROR]": slog.LevelWarn,
}

// What Raft says again and again of what is not worth it: when it is told of an entry that has not come yet, as happens to who
// catches up, and each time that it tries to reach a node of which gossip knows nothing.
const (
	behind  = "failed to get previous log"
	unknown = "unable to get address for server"
)

func (w lineWriter) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelInfo
	if head, rest, ok := strings.Cut(text, " "); ok {
		if l, known := levels[head]; known {
			level, text = l, strings.TrimSpace(rest)
		}
	}
	if strings.Contains(text, behind) || strings.Contains(text, unknown) {
		level = slog.LevelDebug
	}
	w.log.Log(context.Background(), level, strings.TrimPrefix(text, "raft: "))
	return len(line), nil
}
