package readme

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// Document is a README, cut into its parts.
type Document struct {
	// Title is the first heading.
	Title string
	// Sections are those with a heading of their own; what stands before the first has the name "".
	Sections []Section
	// Text is the whole file.
	Text string
}

// Section is what follows a heading.
type Section struct {
	Name   string
	Blocks []Block
}

// Block is a block of commands.
type Block struct {
	// Line is where it begins in the file.
	Line int
	// Commands are copied and pasted at once.
	Commands string
	// Output is what they print, as Match compares it; empty if the README does not say.
	Output string
}

// Section is the section of that name.
func (d Document) Section(name string) (Section, bool) {
	for _, s := range d.Sections {
		if s.Name == name {
			return s, true
		}
	}
	return Section{}, false
}

// Read reads and cuts a README.
func Read(path string) (Document, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Document{}, err
	}
	d, err := Parse(string(content))
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return d, err
}

// Examples are the names of the examples in a repository, sorted.
func Examples(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "examples", "*", "values.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) < 20 {
		return nil, fmt.Errorf("%s/examples has %d examples with values.yaml; it should have more than 20", root,
			len(files))
	}
	var names []string
	for _, file := range files {
		names = append(names, filepath.Base(filepath.Dir(file)))
	}
	return names, nil
}

// noKind is of a block whose fence says nothing.
const noKind = "?"

// Parse cuts a README.
func Parse(text string) (Document, error) {
	d := Document{Text: text, Sections: []Section{{}}}
	fence, begun, afterCommands := "", 0, false
	var inside []string
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		kind, isFence := strings.CutPrefix(trimmed, "```")
		switch {
		case fence == "" && isFence:
			fence, begun, inside = cmp.Or(kind, noKind), i+1, nil
		case fence != "" && trimmed == "```":
			if err := d.end(fence, Block{Line: begun, Commands: strings.Join(inside, "\n")},
				afterCommands); err != nil {
				return d, err
			}
			afterCommands, fence = fence == "sh", ""
		case fence != "":
			inside = append(inside, line)
		case trimmed != "":
			afterCommands = false
			d.heading(line)
		}
	}
	if fence != "" {
		return d, fmt.Errorf("line %d: the block has no end", begun)
	}
	return d, nil
}

// heading takes a line that may be one.
func (d *Document) heading(line string) {
	if title, ok := strings.CutPrefix(line, "# "); ok {
		d.Title = title
	} else if name, ok := strings.CutPrefix(line, "## "); ok {
		d.Sections = append(d.Sections, Section{Name: name})
	}
}

// end adds a block to the last section.
func (d *Document) end(fence string, block Block, afterCommands bool) error {
	last := &d.Sections[len(d.Sections)-1]
	switch {
	case fence == noKind:
		return fmt.Errorf("line %d: the block does not say what it is; write sh, text or yaml after the fence",
			block.Line)
	case fence == "sh":
		last.Blocks = append(last.Blocks, block)
	case fence == "text" && afterCommands:
		last.Blocks[len(last.Blocks)-1].Output = block.Commands
	case fence == "text":
		return fmt.Errorf("line %d: a block of text is what commands print, and follows theirs directly", block.Line)
	}
	return nil
}

// Match compares what commands printed with what their README says; see the package for the rules.
func Match(wanted, printed string) error {
	lines := strings.Split(printed, "\n")
	for _, line := range strings.Split(wanted, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		like, found := pattern(line), false
		for !found && len(lines) > 0 {
			found, lines = like.MatchString(" "+strings.TrimSpace(lines[0])), lines[1:]
		}
		if !found {
			return fmt.Errorf(
				"the README says that it prints\n%s\nand it printed\n%s\nwithout, in its place, the line\n%s",
				wanted,
				printed,
				line,
			)
		}
	}
	return nil
}

// pattern is of a line with a space before it.
func pattern(line string) *regexp.Regexp {
	var out strings.Builder
	for _, word := range strings.Fields(line) {
		if word == "…" {
			out.WriteString(`(?:\s+\S+)*`)
			continue
		}
		out.WriteString(`\s+` + strings.ReplaceAll(regexp.QuoteMeta(word), "…", `\S*`))
	}
	return regexp.MustCompile("^" + out.String() + "$")
}
