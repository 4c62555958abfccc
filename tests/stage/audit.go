package stage

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// AuditEntry is a line of the API server's audit log.
type AuditEntry struct {
	Verb      string
	User      struct{ Username string }
	ObjectRef struct{ Resource, Namespace, Name, Subresource string }
}

// Writes says whether something was changed.
func (e AuditEntry) Writes() bool {
	return e.Verb == "create" || e.Verb == "update" || e.Verb == "patch" || e.Verb == "delete" ||
		e.Verb == "deletecollection"
}

// By says whether a ServiceAccount of the namespace asked.
func (e AuditEntry) By(namespace string) bool {
	return strings.HasPrefix(e.User.Username, "system:serviceaccount:"+namespace+":")
}

// Audit is the API server's audit log from a place on.
type Audit struct {
	file string
	from int64
}

// NoAudit is why a test is skipped that needs the audit log.
const NoAudit = "the audit log is the witness, and only the local cluster has one that can be read; use CLUSTER=local"

// audited is a cluster whose API server's log can be read.
type audited interface{ AuditLog() string }

// Audited says whether the cluster has such a log.
func (s *Stage) Audited() bool {
	_, ok := s.Cluster.(audited)
	return ok
}

// AuditFromNow begins where the log ends.
func (s *Stage) AuditFromNow() (*Audit, error) {
	witness, ok := s.Cluster.(audited)
	if !ok {
		return nil, errors.New(NoAudit)
	}
	info, err := os.Stat(witness.AuditLog())
	if err != nil {
		return nil, fmt.Errorf("the API server's audit log: %w", err)
	}
	a := &Audit{witness.AuditLog(), max(0, info.Size()-1)}
	// The line that the log ends with, or that is being written, is not ours.
	_, err = a.lines()
	return a, err
}

// Entries are those since then, or since the last call.
func (a *Audit) Entries() ([]AuditEntry, error) {
	lines, err := a.lines()
	if err != nil {
		return nil, err
	}
	entries := make([]AuditEntry, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &entries[i]); err != nil {
			return nil, fmt.Errorf("a line of the API server's audit log: %w", err)
		}
	}
	return entries, nil
}

// lines are those that are complete, and not read yet.
func (a *Audit) lines() (lines [][]byte, err error) {
	log, err := os.Open(a.file)
	if err != nil {
		return nil, fmt.Errorf("the API server's audit log: %w", err)
	}
	defer func() { _ = log.Close() }()
	if _, err := log.Seek(a.from, io.SeekStart); err != nil {
		return nil, fmt.Errorf("the API server's audit log: %w", err)
	}
	for reader := bufio.NewReader(log); ; {
		line, err := reader.ReadBytes('\n')
		if err != nil {
			return lines, nil
		}
		a.from += int64(len(line))
		lines = append(lines, line)
	}
}
