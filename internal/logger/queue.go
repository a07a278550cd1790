package logger

import "slices"

// queue does one thing after the other, beside the loop.
type queue struct {
	c    *logger
	jobs []func() // the first one is being done
	max  int      // how many there may be: then the oldest that waits is left out; 0 for no limit
	done int      // the number of those done, those left out included
}

func (q *queue) init(c *logger, most int) { q.c, q.max = c, most }

// all is what done will be when everything that was added up to now is.
func (q *queue) all() int { return q.done + len(q.jobs) }

func (q *queue) busy() bool { return len(q.jobs) > 0 }

// add is called in the loop.
func (q *queue) add(job func()) {
	if q.max > 0 && len(q.jobs) >= q.max {
		q.jobs = slices.Delete(q.jobs, 1, 2)
		q.done++
	}
	q.jobs = append(q.jobs, job)
	if len(q.jobs) == 1 {
		q.next()
	}
}

func (q *queue) next() {
	job := q.jobs[0]
	go func() {
		job()
		q.c.post(func() {
			q.done++
			if q.jobs = q.jobs[1:]; len(q.jobs) > 0 {
				q.next()
			}
		})
	}()
}
