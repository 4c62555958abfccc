package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// page is a page of the documentation with its promises and their tests.
type page struct {
	// path is relative to the repository, such as docs/reference/values.md.
	path     string
	promises []promise
	// unproven are list items and rows without an id, in lists and tables where others have one.
	unproven []string
	// proofs are the tests of each promise, as "package:Test/subtest".
	proofs map[string][]string
}

// promise is a list item or table row with an id.
type promise struct{ id, text string }

// proofComment is the comment that gives a promise its id.
var proofComment = regexp.MustCompile(`\s*<!-- proof: ([a-z0-9-]+) -->`)

// readPages reads docs/proofs below the root folder, and the pages that its files name.
func readPages(root string) ([]page, error) {
	files, err := filepath.Glob(filepath.Join(root, "docs/proofs/*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("there are no files docs/proofs/*.yaml; run this from the repository's root: %w", err)
	}
	var pages []page
	for _, file := range files {
		p, err := readPage(root, file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		pages = append(pages, p)
	}
	return pages, nil
}

// readPage reads one file of docs/proofs and its page.
func readPage(root, file string) (page, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return page{}, err
	}
	var proofs struct {
		Page   string              `json:"page"`
		Proofs map[string][]string `json:"proofs"`
	}
	if err := yaml.UnmarshalStrict(content, &proofs); err != nil {
		return page{}, err
	}
	text, err := os.ReadFile(filepath.Join(root, proofs.Page))
	if err != nil {
		return page{}, err
	}
	promises, unproven := findPromises(string(text))
	return page{path: proofs.Page, promises: promises, unproven: unproven, proofs: proofs.Proofs}, nil
}

// findPromises returns the promises of a page, and the items without an id that stand in the same list or table as one.
func findPromises(text string) (promises []promise, unproven []string) {
	var items []string // of the current list or table
	end := func() {
		with, without := splitItems(items)
		promises = append(promises, with...)
		if len(with) > 0 {
			unproven = append(unproven, without...)
		}
		items = nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "|"), strings.HasPrefix(line, "- "):
			items = append(items, line)
		case strings.HasPrefix(line, "  ") && len(items) > 0:
			items[len(items)-1] += " " + strings.TrimSpace(line)
		default:
			end()
		}
	}
	end()
	return promises, unproven
}

// splitItems returns the items with an id as promises, and the others. The first two rows of a table are its head.
func splitItems(items []string) (with []promise, without []string) {
	for i, item := range items {
		match := proofComment.FindStringSubmatch(item)
		switch {
		case match != nil:
			with = append(with, promise{match[1], plainText(proofComment.ReplaceAllString(item, ""))})
		case i > 1 || !strings.HasPrefix(item, "|"):
			without = append(without, item)
		}
	}
	return with, without
}

var link = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)

// plainText returns an item without its list or table marks and without links.
func plainText(item string) string {
	item = link.ReplaceAllString(item, "$1")
	if text, ok := strings.CutPrefix(item, "- "); ok {
		return strings.ReplaceAll(text, "|", `\|`)
	}
	cells := strings.Split(strings.ReplaceAll(strings.Trim(item, "| "), `\|`, "\x00"), "|")
	for i, cell := range cells {
		cells[i] = strings.TrimSpace(cell)
	}
	return strings.ReplaceAll(strings.Join(cells, " · "), "\x00", `\|`)
}

// problems are the differences between the ids of a page and those of its file in docs/proofs.
func (p page) problems() []string {
	var wrong []string
	seen := map[string]bool{}
	for _, promise := range p.promises {
		if seen[promise.id] {
			wrong = append(wrong, fmt.Sprintf("%s: two promises have the id %s", p.path, promise.id))
		}
		seen[promise.id] = true
		if len(p.proofs[promise.id]) == 0 {
			wrong = append(wrong, fmt.Sprintf("%s: the promise %s has no test in docs/proofs", p.path, promise.id))
		}
	}
	for _, item := range p.unproven {
		wrong = append(wrong, fmt.Sprintf("%s: the item %q has no id, but others of its list have one", p.path, item))
	}
	for id := range p.proofs {
		if !seen[id] {
			wrong = append(wrong, fmt.Sprintf("%s has no promise %s, but docs/proofs has tests for it", p.path, id))
		}
	}
	slices.Sort(wrong)
	return wrong
}
