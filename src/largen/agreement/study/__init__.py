"""Theory against real networks on one task, section by section: the work behind `largen report`."""

from largen.agreement.study.plan import Plan as Plan, plan as plan
from largen.agreement.study.records import Study as Study
from largen.agreement.study.study import study as study
