package diagnosis

import (
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// RetryAfter reads a header of that name, which has seconds or a date; a date is compared with the answer's own, so
// that no clock of ours counts. What makes no sense is zero, and nothing is longer than limits.RetryAfter.
func RetryAfter(header, date string) time.Duration {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseFloat(header, 64); err == nil {
		if !(seconds > 0) { // also not a number
			return 0
		}
		return time.Duration(min(seconds, limits.RetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := parseDate(header)
	now, errNow := parseDate(strings.TrimSpace(date))
	if err != nil || errNow != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), limits.RetryAfter)
}

// parseDate reads the three forms of HTTP dates.
func parseDate(text string) (at time.Time, err error) {
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if at, err = time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return at, err
}
