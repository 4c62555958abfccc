package controller

import (
	"golang.org/x/time/rate"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Owners returns the requests for the resources of a changed output.
var Owners = owners

// BoundWriters sets the number of write slots, as in production.
func (c *Controller) BoundWriters(most int) { c.writers = make(chan struct{}, most) }

// Writing returns the number of write slots in use.
func (c *Controller) Writing() int { return len(c.writers) }

// Wake sets the function that adds a resource to the queue, as in production.
func (c *Controller) Wake(wake func(ctrl.Request)) { c.wake = wake }

// AllowFailures sets the total number of events about failures.
func (c *Controller) AllowFailures(most int) { c.failures = rate.NewLimiter(0, most) }
