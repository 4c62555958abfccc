// Package plugin packs the command line of a release: an archive for each platform, and the manifest for krew.
package plugin
