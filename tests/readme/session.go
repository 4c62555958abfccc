package readme

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// loop runs each file that it is sent the name of, in one shell, so that later blocks have the variables of earlier
// ones. A block does not inherit the pipes: what it leaves running would keep them open when the shell ends.
const loop = `set -euo pipefail
while read -r block <&3; do
  source "$block" </dev/null >"$block.out" 2>&1 3<&- 4>&-
  echo done >&4
done`

// Session is a shell that runs block after block.
type Session struct {
	// Broken is asked each second while a block runs, and an error ends it: repeating a command does not help then.
	Broken func() error

	folder string
	cmd    *exec.Cmd
	names  *os.File
	done   chan string
	count  int
	cancel context.CancelFunc
}

// Start starts the shell in a folder. The folder programs comes first in PATH, and environment is added to that of the
// test.
func Start(ctx context.Context, folder, programs string, environment ...string) (*Session, error) {
	scratch, err := os.MkdirTemp("", "readme-")
	if err != nil {
		return nil, err
	}
	toShell, names, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	answers, fromShell, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	s := &Session{folder: scratch, names: names, done: make(chan string), cancel: cancel}
	s.cmd = exec.CommandContext(ctx, "bash", "-c", loop)
	s.cmd.Dir, s.cmd.ExtraFiles, s.cmd.WaitDelay = folder, []*os.File{toShell, fromShell}, time.Second
	// What a block still runs ends with its shell.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.Cancel = func() error { return syscall.Kill(-s.cmd.Process.Pid, syscall.SIGKILL) }
	s.cmd.Env = append(os.Environ(), "PATH="+programs+":"+os.Getenv("PATH"))
	s.cmd.Env = append(s.cmd.Env, environment...)
	if err := s.cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	_, _ = toShell.Close(), fromShell.Close()
	go func() {
		for lines := bufio.NewScanner(answers); lines.Scan(); {
			s.done <- lines.Text()
		}
		close(s.done)
	}()
	return s, nil
}

// Run runs the commands of a block, and returns what they printed, errors included.
func (s *Session) Run(b Block, patience time.Duration) (string, error) {
	s.count++
	file := filepath.Join(s.folder, strconv.Itoa(s.count)+".sh")
	if err := os.WriteFile(file, []byte(b.Commands+"\n"), 0o600); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintln(s.names, file); err != nil {
		return "", fmt.Errorf("line %d: the shell has ended: %w", b.Line, err)
	}
	failure := s.await(patience)
	printed, err := os.ReadFile(file + ".out")
	if err = errors.Join(failure, err); err == nil {
		return string(printed), nil
	}
	return string(
			printed,
		), fmt.Errorf(
			"line %d: %w\ncommands:\n%s\nprinted:\n%s",
			b.Line,
			err,
			b.Commands,
			tail(string(printed)),
		)
}

// await waits for the end of the block that runs.
func (s *Session) await(patience time.Duration) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for end := time.After(patience); ; {
		select {
		case _, alive := <-s.done:
			if !alive {
				return fmt.Errorf("a command failed: %w", errors.Join(s.cmd.Wait(), errors.New("the shell has ended")))
			}
			return nil
		case <-tick.C:
			if s.Broken == nil {
				continue
			}
			if err := s.Broken(); err != nil {
				return err
			}
		case <-end:
			return fmt.Errorf("it has not ended after %s", patience)
		}
	}
}

// tail is the end of a long output.
func tail(text string) string {
	const most = 4000
	if len(text) > most {
		return "…" + strings.ToValidUTF8(text[len(text)-most:], "")
	}
	return text
}

// Close ends the shell, and what it still runs.
func (s *Session) Close() {
	_ = s.names.Close()
	s.cancel()
	for range s.done { //nolint:revive // the shell's last words
	}
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.folder)
}
