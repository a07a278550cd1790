package clerk

// queue does one thing after the other, beside the loop.
type queue struct {
	c    *clerk
	jobs []func() // the first one is being done
}

func (q *queue) init(c *clerk) { q.c = c }

func (q *queue) busy() bool { return len(q.jobs) > 0 }

// add is called in the loop.
func (q *queue) add(job func()) {
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
			if q.jobs = q.jobs[1:]; len(q.jobs) > 0 {
				q.next()
			}
		})
	}()
}
