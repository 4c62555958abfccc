package registrytest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// NewResolver returns a resolver that queries a DNS server of the test. The function answer returns the address of a
// name, or false if the name does not exist.
func NewResolver(t *testing.T, answer func(name string) (netip.Addr, bool)) *net.Resolver {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	go serveDNS(conn, answer)
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// serveDNS answers DNS queries for addresses until the connection is closed.
func serveDNS(conn net.PacketConn, answer func(name string) (netip.Addr, bool)) {
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var message dnsmessage.Message
		if message.Unpack(buffer[:n]) != nil || len(message.Questions) != 1 {
			continue
		}
		question := message.Questions[0]
		reply := dnsmessage.Message{Header: dnsmessage.Header{ID: message.ID, Response: true, RecursionAvailable: true},
			Questions: message.Questions}
		address, found := answer(strings.ToLower(strings.TrimSuffix(question.Name.String(), ".")))
		header := dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET, Type: question.Type}
		switch {
		case !found:
			reply.RCode = dnsmessage.RCodeNameError
		case question.Type == dnsmessage.TypeA && address.Is4():
			reply.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: address.As4()}}}
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			reply.Answers = []dnsmessage.Resource{{Header: header,
				Body: &dnsmessage.AAAAResource{AAAA: address.As16()}}}
		}
		if packed, err := reply.Pack(); err == nil {
			_, _ = conn.WriteTo(packed, from)
		}
	}
}
