from jasgd.pictures.jobs import KINDS, Jobs, jobs
