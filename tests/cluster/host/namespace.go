package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// private are the folders of the machine that the parts of a cluster write to by fixed names; each cluster has its own.
func private() []string {
	return []string{"/run", "/var/log", "/var/lib/cni", "/var/lib/kubelet", "/etc/kubernetes", "/etc/cni"}
}

// createdFile lists the folders that had to be made on the machine in order to mount over them.
const createdFile = "created-folders"

// Namespaces are the cluster's own network and mount namespaces.
type Namespaces struct {
	ID ID
	// Work is the cluster's work folder.
	Work string
	// Subnet is the third byte of 172.30.x.0/24: .1 is the host, .2 the node.
	Subnet int
}

// NodeIP is the node's address.
func (n Namespaces) NodeIP() string { return fmt.Sprintf("172.30.%d.2", n.Subnet) }

func (n Namespaces) hostIP() string { return fmt.Sprintf("172.30.%d.1", n.Subnet) }

// Open starts the holder and connects its network to the host. azureJSON is the file that becomes
// /etc/kubernetes/azure.json, inside only.
func (n Namespaces) Open(ctx context.Context, azureJSON string) error {
	if err := n.makeFolders(); err != nil {
		return err
	}
	if err := n.startHolder(azureJSON); err != nil {
		return err
	}
	return n.connect(ctx)
}

// makeFolders makes what is missing of the private folders on the machine and remembers it, so that Close can take it
// back.
func (n Namespaces) makeFolders() error {
	var created []string
	for _, folder := range private() {
		for parent := folder; parent != "/"; parent = filepath.Dir(parent) {
			if _, err := os.Stat(parent); os.IsNotExist(err) {
				created = append(created, parent)
			}
		}
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	if len(created) == 0 {
		return nil
	}
	return os.WriteFile(filepath.Join(n.Work, createdFile), []byte(strings.Join(created, "\n")), 0o600)
}

func (n Namespaces) startHolder(azureJSON string) error {
	script := "set -e\nmount --make-rshared /\n"
	for _, folder := range private() {
		script += fmt.Sprintf("mount -t tmpfs tmpfs %s\nmount --make-shared %s\n", folder, folder)
	}
	script += "mkdir -p /run/lock /run/netns\n"
	script += fmt.Sprintf("cp '%s' /etc/kubernetes/azure.json\nchmod 0600 /etc/kubernetes/azure.json\n", azureJSON)
	script += fmt.Sprintf("exec -a %s sleep infinity\n", n.ID.Marker())
	log, err := os.OpenFile(filepath.Join(n.Work, "log", "holder.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("unshare", "--net", "--mount", "--propagation", "private", "bash", "-c", script)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the holder of the namespaces: %w", err)
	}
	go func() { _ = cmd.Wait() }()
	for range 100 {
		if _, ok := Holder(n.ID, n.Work); ok {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return fmt.Errorf("the holder of the namespaces did not start; see %s (root is needed)", log.Name())
}

// connect makes the link to the host and the address at which Azure serves identities to a node.
func (n Namespaces) connect(ctx context.Context) error {
	holder, ok := Holder(n.ID, n.Work)
	if !ok {
		return errors.New("the holder of the namespaces is gone")
	}
	inside := []string{"nsenter", "-t", strconv.Itoa(holder), "-n", "ip"}
	outside := []string{"ip"}
	steps := [][]string{
		append(outside, "link", "add", n.ID.Link(), "type", "veth", "peer", "name", "eth0", "netns",
			strconv.Itoa(holder)),
		append(outside, "addr", "add", n.hostIP()+"/24", "dev", n.ID.Link()),
		append(outside, "link", "set", n.ID.Link(), "up"),
		append(inside, "link", "set", "lo", "up"),
		append(inside, "addr", "add", "169.254.169.254/32", "dev", "lo"),
		append(inside, "addr", "add", n.NodeIP()+"/24", "dev", "eth0"),
		append(inside, "link", "set", "eth0", "up"),
		append(inside, "route", "add", "default", "via", n.hostIP()),
	}
	for _, step := range steps {
		if out, err := exec.CommandContext(ctx, step[0], step[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", strings.Join(step, " "), err, out)
		}
	}
	return nil
}

// Start runs a program inside the namespaces; it outlives this process. Its output goes to log/NAME.log in the work
// folder.
func (n Namespaces) Start(name string, path []string, program string, args ...string) error {
	holder, ok := Holder(n.ID, n.Work)
	if !ok {
		return errors.New("the holder of the namespaces is gone")
	}
	log, err := os.OpenFile(filepath.Join(n.Work, "log", name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command("nsenter", append([]string{"-t", strconv.Itoa(holder), "-m", "-n", "--", program}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "PATH="+strings.Join(append(path, "/usr/sbin:/usr/bin:/sbin:/bin"), ":"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", name, err)
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

// Close removes all that the cluster has on the machine, whether it was stopped or killed.
func (n Namespaces) Close() error {
	if err := KillAll(n.ID, n.Work); err != nil {
		return err
	}
	// The link goes with the network namespace, a moment after its last process.
	_ = exec.Command("ip", "link", "del", n.ID.Link()).Run()
	if err := removeCgroups(n.ID); err != nil {
		return err
	}
	created, err := os.ReadFile(filepath.Join(n.Work, createdFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, folder := range strings.Split(string(created), "\n") {
		_ = os.Remove(folder) // another cluster may still mount over it, then it stays for that one to remove
	}
	return os.Remove(filepath.Join(n.Work, createdFile))
}
