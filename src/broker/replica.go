package broker

import (
	"net"
	"net/http"

	"github.com/akv2k8s/akv2k8s/src/wire"
)

// setReplicaHeader writes the address at which the client reached this replica into the response. The containers of a
// pod send their requests to the replica that checked their references, because its cache has the values.
func setReplicaHeader(w http.ResponseWriter, r *http.Request) {
	if address, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		w.Header().Set(wire.HeaderReplica, address.String())
	}
}
