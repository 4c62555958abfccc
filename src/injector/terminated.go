package injector

import (
	"cmp"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// defaultTerminationLog is where the kubelet reads the termination message unless the container says otherwise.
const defaultTerminationLog = "/dev/termination-log"

// writeTerminationMessage leaves the message where the kubelet reads it. It is for kubectl describe, and nothing
// depends on it: the file is missing in some containers, and is never created, because the kubelet would not read it
// then.
func writeTerminationMessage(environ []string, message string) {
	file, err := os.OpenFile(cmp.Or(valueOf(environ, wire.EnvTerminationLog), defaultTerminationLog),
		os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	_, _ = file.WriteString(shorten(message, limits.TerminationMessageBytes))
	_ = file.Close()
}

// shorten is a text of at most so many bytes, without half a character at its end.
func shorten(text string, most int) string {
	text = strings.ToValidUTF8(text, string(utf8.RuneError))
	if len(text) <= most {
		return text
	}
	const more = "…"
	cut := most - len(more)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + more
}
