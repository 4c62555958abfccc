package controller

import (
	"golang.org/x/time/rate"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/akv2k8s/akv2k8s/src/fairshare"
)

// RequestsForOwners returns the requests for the resources of a changed output.
var RequestsForOwners = requestsForOwners

// SetWriteSlots sets the number of write slots, as in production.
func (c *Controller) SetWriteSlots(most int) { c.writeSlots = make(chan struct{}, most) }

// SetWatchSlots sets the number of concurrent reads of resources that only pods use, as in production.
func (c *Controller) SetWatchSlots(most int) { c.watchSlots = fairshare.NewPool(int64(most)) }

// UsedWriteSlots returns the number of write slots in use.
func (c *Controller) UsedWriteSlots() int { return len(c.writeSlots) }

// SetEnqueue sets the function that adds a resource to the queue, as in production.
func (c *Controller) SetEnqueue(wake func(ctrl.Request)) { c.enqueue = wake }

// SetFailureEventLimit sets the total number of events about failures.
func (c *Controller) SetFailureEventLimit(most int) { c.failureEventLimiter = rate.NewLimiter(0, most) }
