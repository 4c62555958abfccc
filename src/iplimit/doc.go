// Package iplimit serves a port that everybody in the cluster can reach, and limits the connections, requests and
// memory of each client address, so that one pod cannot starve the API server or other pods. Libraries limit the rate
// of requests, but neither connections nor memory by address.
//
// Floor 3. Authorization, and limits on the cost of an answer, belong in webhook and broker.
package iplimit
