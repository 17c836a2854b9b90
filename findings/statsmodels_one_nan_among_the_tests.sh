#!/usr/bin/env bash
# statsmodels 0.15.0: one NaN among five p-values counts as a test, hides all results or all p-values, by the method.
#
# Guessed: a NaN raises, or is left out, or makes everything NaN and nothing significant: one of these, for each method.
# Seen: `multipletests` with 0.001, 0.01, 0.03, 0.2 and NaN, at 0.05. Holm and Bonferroni count it as a fifth test and
# correct the others. Benjamini-Hochberg and Simes-Hochberg give NaN for all five corrected p-values and say of the same
# ones that they are significant. Hommel and "fdr_gbs" find nothing significant, where without the NaN they find two and
# three. Nothing is said; scipy's `false_discovery_control` raises.
# Where it matters: models compared by many metrics or classes, where a paired test without a difference, or with a
# class of one sample, is NaN. Whoever reads `reject` and whoever reads the p-values report the opposite.
# Way round: take NaN out before the correction.
. "$(dirname "$0")/_setup.sh"
install statsmodels==0.15.0 scipy==1.17.1 pandas==3.1.1 numpy==2.4.6
run <<'PY'
import sys
import numpy as np
from scipy.stats import false_discovery_control, ttest_rel
from statsmodels.stats.multitest import multipletests

equal = np.array([0.5, 0.7, 0.6])
failed = float(ttest_rel(equal, equal).pvalue)
print("a paired t test of two equal runs:", failed)
pvalues = np.array([0.001, 0.01, 0.03, 0.2])
found, corrected, without = {}, {}, {}
for method in ("bonferroni", "holm", "simes-hochberg", "hommel", "fdr_bh", "fdr_gbs"):
    reject, values = multipletests([*pvalues, failed], method=method)[:2]
    found[method], corrected[method] = int(reject.sum()), np.round(values[:4], 3).tolist()
    without[method] = int(multipletests(pvalues, method=method)[0].sum())
    print(f"{method:14} significant {found[method]} (without NaN {without[method]}), corrected {corrected[method]}")
try:
    false_discovery_control([*pvalues, failed])
    raised = False
except ValueError as error:
    raised = True
    print("scipy:", error)
hidden = {method for method, values in corrected.items() if np.isnan(values).all()}
as_described = np.isnan(failed) and raised and hidden == {"simes-hochberg", "hommel", "fdr_bh", "fdr_gbs"}
as_described &= found["fdr_bh"] == 3 and found["simes-hochberg"] == 2 and found["hommel"] == found["fdr_gbs"] == 0
as_described &= without["hommel"] == 2 and without["fdr_gbs"] == 3 and corrected["holm"] == [0.005, 0.04, 0.09, 0.4]
sys.exit(0 if as_described else "changed: this is no longer what statsmodels does")
PY
