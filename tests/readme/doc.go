// Package readme runs the commands of a README as a reader does who copies and pastes them, and compares what they
// print.
//
// A README has sections (## NAME). Of a section, each block of ```sh is a block of commands, and a block of ```text
// directly after it is what the commands print. All blocks of a README run in one bash with -eu and pipefail, in the
// README's folder, with the programs of a folder of stand-ins before those of the machine.
//
// Output is compared leniently, because names and ages differ each time. Each line of the text block has to match a
// line of the output, in the order of the block; lines between them don't matter. A line matches word by word,
// whatever the space between words. The sign … stands for any number of words, none included; inside a word, it stands
// for the rest of the word.
package readme
