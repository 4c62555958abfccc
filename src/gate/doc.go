// Package gate serves a port that anybody in the cluster can reach, and bounds what one address may take of it, so that
// a single pod can't keep the API server, or other pods, from being answered.
//
// Floor 3. Who may ask for what belongs in webhook and broker; bounds of what their answers cost are there too.
package gate
