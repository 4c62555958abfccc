package injector

import (
	"cmp"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/akv2k8s/akv2k8s/src/limits"
	"github.com/akv2k8s/akv2k8s/src/wire"
)

// defaultTerminationLog is the kubelet's default of terminationMessagePath.
const defaultTerminationLog = "/dev/termination-log"

// writeTerminationMessage writes the message that kubectl describe shows. Errors are ignored: in some containers the
// file is missing. It is never created, because the kubelet reads only the file that it mounted.
func writeTerminationMessage(environ []string, message string) {
	file, err := os.OpenFile(cmp.Or(valueOf(environ, wire.EnvTerminationLog), defaultTerminationLog),
		os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return
	}
	_, _ = file.WriteString(truncateText(message, limits.TerminationMessageBytes))
	_ = file.Close()
}

// truncateText cuts a text to at most so many bytes, between two characters.
func truncateText(text string, most int) string {
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
