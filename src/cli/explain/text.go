package explain

import (
	"cmp"
	"fmt"
	"io"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/akv2k8s/akv2k8s/src/api/v2beta1"
	"github.com/akv2k8s/akv2k8s/src/doctor"
)

// text collects lines, and the first error of writing them.
type text struct {
	out io.Writer
	err error
}

func (t *text) addf(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.out, format+"\n", args...)
	}
}

// addTable adds rows in columns.
func (t *text) addTable(rows [][]string) {
	table := printers.GetNewTabWriter(t.out)
	for _, row := range rows {
		if t.err == nil {
			_, t.err = fmt.Fprintln(table, "  "+strings.Join(row, "\t"))
		}
	}
	if t.err == nil {
		t.err = table.Flush()
	}
}

// WriteText writes the explanation of a pod for people.
func (p *Pod) WriteText(out io.Writer) error {
	t := &text{out: out}
	t.addf("%s %s/%s", p.Kind, p.Namespace, p.Name)
	t.addTable([][]string{{"ServiceAccount:", p.ServiceAccount}, {"Injected:", yesNo(p.Injected) + ": " + p.Injection}})
	for _, c := range p.Containers {
		c.writeText(t)
	}
	if len(p.Notes) > 0 {
		t.addf("")
		for _, note := range p.Notes {
			t.addf("Note: %s", note)
		}
	}
	writeFindings(t, p.Findings)
	return t.err
}

func yesNo(is bool) string {
	if is {
		return "yes"
	}
	return "no"
}

func (c *Container) writeText(t *text) {
	if !c.Injected && len(c.Uses) == 0 {
		t.addf("\nContainer %s: no references", c.Name)
		return
	}
	t.addf("\nContainer %s", c.Name)
	rows := [][]string{{"Read by:", orDash(c.Reader)}}
	if c.ValuesFrom != nil {
		rows = append(rows, []string{"Since:", formatTime(c.ValuesFrom)})
	}
	t.addTable(rows)
	for _, use := range c.Uses {
		use.writeText(t)
	}
}

func (u *Use) writeText(t *text) {
	t.addf("  %s%s = %s", u.Variable, u.File, u.Reference)
	rows := [][]string{{"  From:", u.From}, {"  Vault object:", orDash(u.VaultObject) + partSuffix(u.Part)},
		{"  Read with:", orDash(u.Identity)}, {"  Version:", versionText(u.Version, u.Changed, u.Expires)},
		{"  Ready:", u.Ready}, {"  At start:", u.AtStart}}
	if u.Now != "" {
		rows = append(rows, []string{"  Now:", u.Now})
	}
	t.addTable(rows)
}

func partSuffix(part string) string {
	if part == "" {
		return ""
	}
	return ", part " + part
}

// versionText describes a version with its dates.
func versionText(version string, changed, expires *metav1.Time) string {
	parts := []string{orDash(version)}
	if changed != nil {
		parts = append(parts, "changed "+formatTime(changed))
	}
	if expires != nil {
		parts = append(parts, "expires "+formatTime(expires))
	}
	return strings.Join(parts, ", ")
}

func orDash(text string) string { return cmp.Or(text, "-") }

// writeFindings writes findings, which come last, as the doctor does.
func writeFindings(t *text, findings []doctor.Finding) {
	if len(findings) == 0 {
		t.addf("\nNothing is wrong.")
		return
	}
	t.addf("\nFindings")
	for _, f := range findings {
		if t.err == nil {
			t.err = f.WriteText(t.out)
		}
	}
}

// WriteText writes the explanation of a resource for people.
func (r *Resource) WriteText(out io.Writer) error {
	t := &text{out: out}
	t.addf("AzureKeyVaultSecret %s/%s", r.Namespace, r.Name)
	rows := [][]string{{"Vault:", r.Vault}, {"Read with:", r.Identity}}
	for _, object := range r.Objects {
		rows = append(rows, []string{"Object:", objectLine(object)})
	}
	if r.Searches > 0 {
		rows = append(rows, []string{"Searches:", fmt.Sprintf("%d, for further objects", r.Searches)})
	}
	rows = append(rows, []string{"Version:", versionText(r.Version, r.Changed, r.Expires)},
		[]string{"Refresh:", r.Refresh})
	if r.NextRefresh != nil {
		rows = append(rows, []string{"Next refresh:", formatTime(r.NextRefresh)})
	}
	if r.SyncedBy != "" {
		rows = append(rows, []string{"Synced by:", r.SyncedBy})
	}
	t.addTable(rows)
	r.writeDetails(t)
	writeFindings(t, r.Findings)
	return t.err
}

func objectLine(o Object) string {
	line := o.Type + " " + o.Name
	if o.Version != "" {
		line += ", version " + o.Version
	}
	if o.DataKey != "" {
		line += ", data key " + o.DataKey
	}
	return line
}

// writeDetails writes conditions, outputs and restarts.
func (r *Resource) writeDetails(t *text) {
	if len(r.Conditions) > 0 {
		t.addf("\nConditions")
		var rows [][]string
		for _, c := range r.Conditions {
			since := c.LastTransitionTime
			line := string(c.Status) + " (" + c.Reason + ") since " + formatTime(&since)
			if c.Type != v2beta1.ConditionReady && c.Message != "" { // that of Ready is a finding, if it is not True
				line += ": " + c.Message
			}
			rows = append(rows, []string{c.Type + ":", line})
		}
		t.addTable(rows)
	}
	for _, out := range r.Outputs {
		t.addf("\nOutput %s %s: %s", out.Kind, out.Name, out.State)
		var rows [][]string
		for _, key := range out.Keys {
			rows = append(rows, []string{key.Name + ":", "written by " + strings.Join(key.Writers, " and ")})
		}
		t.addTable(rows)
	}
	if len(r.Outputs) == 0 {
		t.addf("\nNo output: pods refer to it as %s@azurekeyvault", r.Name)
	}
	if r.Restarts != nil {
		r.Restarts.writeText(t)
	}
}

func (r *Restarts) writeText(t *text) {
	t.addf("\nRestarts: %s", r.Selects)
	if r.Pending != nil {
		t.addf("  Pending for the change at %s", formatTime(r.Pending))
	}
	var rows [][]string
	for _, w := range r.Workloads {
		version := ""
		if w.Version != "" {
			version = " (version " + w.Version + ")"
		}
		rows = append(rows, []string{w.Kind + " " + w.Name + ":", w.State + version})
	}
	t.addTable(rows)
	if r.More > 0 {
		t.addf("  and %d more", r.More)
	}
}
