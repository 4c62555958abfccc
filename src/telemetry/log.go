package telemetry

import (
	"fmt"
	"io"
	"strings"

	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// NewLogger returns a logger that writes to out. format is text or json; fmt is v1's name for text. level is info,
// debug, trace or a verbosity from 0 (info) to 10.
func NewLogger(out io.Writer, level, format string) (logr.Logger, error) {
	verbosity, err := parseLevel(level)
	if err != nil {
		return logr.Logger{}, err
	}
	// The lock keeps lines of several goroutines apart in any writer.
	options := []zap.Opts{zap.WriteTo(zapcore.Lock(zapcore.AddSync(out))), zap.Level(zapcore.Level(-verbosity)),
		zap.StacktraceLevel(zapcore.PanicLevel)}
	switch strings.ToLower(format) {
	case "", "text", "fmt":
		options = append(options, zap.ConsoleEncoder(useISO8601Time))
	case "json":
		options = append(options, zap.JSONEncoder(useISO8601Time))
	default:
		return logr.Logger{}, fmt.Errorf("log format %q is not known; use text or json", format)
	}
	return zap.New(options...), nil
}

func useISO8601Time(c *zapcore.EncoderConfig) { c.EncodeTime = zapcore.ISO8601TimeEncoder }

func parseLevel(level string) (int, error) {
	switch strings.ToLower(level) {
	case "", "info", "0", "1":
		return 0, nil
	case "debug":
		return 4, nil
	case "trace":
		return 6, nil
	}
	var verbosity int
	if _, err := fmt.Sscanf(level, "%d", &verbosity); err != nil || verbosity < 0 || verbosity > 10 ||
		level != fmt.Sprint(verbosity) {
		return 0, fmt.Errorf("log level %q is not known; use info, debug, trace or a number from 0 to 10", level)
	}
	return verbosity, nil
}
