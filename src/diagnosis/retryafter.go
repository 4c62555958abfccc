package diagnosis

import (
	"strconv"
	"strings"
	"time"

	"github.com/akv2k8s/akv2k8s/src/limits"
)

// ParseRetryAfter parses a Retry-After header, which holds seconds or a date. A date is compared with the Date header
// of the answer, because the local clock can be wrong. An invalid header is zero, and the result is at most
// limits.ParseRetryAfter.
func ParseRetryAfter(header, date string) time.Duration {
	header = strings.TrimSpace(header)
	if seconds, err := strconv.ParseFloat(header, 64); err == nil {
		if !(seconds > 0) { // also NaN
			return 0
		}
		return time.Duration(min(seconds, limits.VaultRetryAfter.Seconds()) * float64(time.Second))
	}
	at, err := parseHTTPDate(header)
	now, errNow := parseHTTPDate(strings.TrimSpace(date))
	if err != nil || errNow != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), limits.VaultRetryAfter)
}

// parseHTTPDate parses the three forms of HTTP dates.
func parseHTTPDate(text string) (at time.Time, err error) {
	for _, form := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if at, err = time.Parse(form, text); err == nil {
			return at, nil
		}
	}
	return at, err
}
