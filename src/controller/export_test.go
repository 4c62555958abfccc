package controller

import (
	"golang.org/x/time/rate"
	ctrl "sigs.k8s.io/controller-runtime"
)

// Owners are the resources that are looked at when an output changes.
var Owners = owners

// BoundWriters bounds the resources that are written at once, as Register does.
func (c *Controller) BoundWriters(most int) { c.writers = make(chan struct{}, most) }

// Writing is how many resources are being written.
func (c *Controller) Writing() int { return len(c.writers) }

// Wake sets what puts a resource into the queue, as Register does.
func (c *Controller) Wake(wake func(ctrl.Request)) { c.wake = wake }

// AllowFailures bounds the events about failures, for ever.
func (c *Controller) AllowFailures(most int) { c.failures = rate.NewLimiter(0, most) }
