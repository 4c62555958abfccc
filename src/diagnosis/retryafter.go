package diagnosis

import (
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// RetryAfter parses a Retry-After header, which holds seconds or a date. A date is compared with the Date header of the
// answer, because the local clock can be wrong. An invalid header is zero, and the result is at most limits.RetryAfter.
func RetryAfter(header, date string) time.Duration {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseFloat(header, 64); err == nil {
		if !(seconds > 0) { // also NaN
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

// parseDate parses the three forms of HTTP dates.
func parseDate(text string) (at time.Time, err error) {
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if at, err = time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return at, err
}
