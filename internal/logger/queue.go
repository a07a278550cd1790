package logger

import "slices"

// queue runs its jobs one after the other, beside the loop.
type queue struct {
	c    *logger
	jobs []func() // the first job is running
	max  int      // the largest number of jobs, above which the oldest waiting job is left out; 0 for no limit
	done int      // the number of jobs done or left out
}

func (q *queue) init(c *logger, most int) { q.c, q.max = c, most }

// all returns what done will be when all present jobs are done.
func (q *queue) all() int { return q.done + len(q.jobs) }

func (q *queue) busy() bool { return len(q.jobs) > 0 }

// add adds a job; only the loop calls it.
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
