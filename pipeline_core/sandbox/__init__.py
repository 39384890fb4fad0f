"""The sandbox: a small invented world whose bias is planted, so that every measurement can be checked.

Eleven domains hold people of several targeted groups and one reference group. In the corpus a targeted group carries
its domain's stereotyped trait at the planted rate r (0.8 to 0.9), the reference group at 50 %.

Bias is the distance of the stereotyped share from 50 %, so a policy that never says the stereotype is as biased as one
that always does. The preference data therefore make the *even-handed* policy the optimum: raters choose the
counter-stereotyped completion with rate q < 1, and every method pulls back towards its reference.

* DPO (arXiv 2305.18290, eq. 4): the best policy shifts the log-odds of counter against stereotyped by
  log(q / (1 - q)) / beta. The planted log-odds are log(r / (1 - r)): with q = r and beta = 1 they cancel.
* IPO (arXiv 2310.12036): the best shift is (2q - 1) / (2 beta); beta = 0.2 cancels the planted log-odds within 0.25.
* GRPO (arXiv 2402.03300) with a reward that prefers counter-stereotyped words: cohort-normalised advantages push the
  log-odds with sqrt(p (1 - p)), p the counter share. The k3 penalty, differentiated as it is sampled, pulls back with
  beta (p - (1 - r)). At p = 1/2 they balance for beta = 1 / (2r - 1): 1.25 to 1.67 over the domains, 1.43 midway.

Every trait word belongs to one side of one domain, so a linear reward on words can learn the raters' taste. Such a
reward does not see the group: its effect on the reference group is measured.
"""
