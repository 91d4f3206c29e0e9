from isckit import config
from isckit.judge.score.report import _branch_factors


def test_the_protocol_tells_the_factor_of_each_fused_branch():
    views, local = config.Views(norm_factor=1.5), config.Local()
    both = config.Matching(branches=(views, local))
    assert _branch_factors(both) == "views: factor 1.5; local: none"
    assert _branch_factors(config.Matching(branches=(views, local), fused=("local",))) == ""
    assert _branch_factors(config.Matching(branches=(config.Views(norm_factor=0.0),))) == ""
    asmk = config.Asmk(member="network", norm_factor=2.0)
    assert _branch_factors(config.Matching(branches=(asmk,))) == "asmk: factor 2"
